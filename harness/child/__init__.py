"""A process of its own for work that may crash or must not be disturbed: the side that asks, the side that answers."""
