"""Attack algorithms on pixels in [0, 1]; one file an idea. They know nothing of engines."""
