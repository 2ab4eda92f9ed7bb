"""What a plan is made of: layers, precisions, formats, times."""
