"""The result document, every way to show it. Needs neither torch nor an inference runtime."""
