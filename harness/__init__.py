"""The edge robustness harness: from a trained classifier to a deployed engine whose numbers can be believed."""

__version__ = "0.1.0"
