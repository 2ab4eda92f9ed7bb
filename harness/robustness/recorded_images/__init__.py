"""Adversarial images that are made where gradients are, kept in a file, and replayed where there are none."""
