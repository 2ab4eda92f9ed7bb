"""What every package here promises its user: how an error reaches them and how a file reaches the disk."""
