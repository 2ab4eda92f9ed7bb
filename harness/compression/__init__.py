"""Structured pruning, and putting a model's quantizers in place."""
