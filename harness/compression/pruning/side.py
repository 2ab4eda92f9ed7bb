"""Where channels are: on the one or the other side of a layer."""

from __future__ import annotations

Side = tuple[str, bool]
"""A layer's name, and whether it is its output channels; what has only one kind of channels, a norm, has outputs."""
