"""Sanity rules: what must hold for a robust accuracy to be believed, judged after the attacks, each by itself."""
