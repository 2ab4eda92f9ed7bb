"""How a graph becomes an engine and how an engine runs. Needs no torch, except the backend of that name."""
