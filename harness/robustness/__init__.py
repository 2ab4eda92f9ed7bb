"""The protocol: what an engine decides, on clean images and under attack, and how sure one can be of it."""
