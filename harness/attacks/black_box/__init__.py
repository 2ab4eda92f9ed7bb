"""Attacks that only ask: on NumPy arrays, so that a board without torch runs them on its engine."""
