"""Does a built engine compute what its graph says: its scores, every row of a batch, every batch size, every build."""
