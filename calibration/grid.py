"""The integers that values are rounded to."""

from __future__ import annotations


def integer_range(bits: int) -> tuple[int, int]:
    """Return the smallest and largest signed integer of that width, 2 to 16 bits."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def largest_integer(bits: int) -> int:
    """Return the integer that a tensor's range is mapped to; one bit is the sign, whose magnitude is 1."""
    return max(integer_range(bits)[1], 1)


SMALLEST_CHANNEL = 2.0**-10
"""The least that a weight's channel may reach, as a share of the largest one's.

The integers of a channel of nothing, or of nearly nothing beside the others, have no more to say with a smaller scale;
but ONNX Runtime stores a bias as an int32 count of the weight's scale times the input's, and with a scale near zero it
would cut the bias off.
"""
