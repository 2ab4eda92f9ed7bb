"""The stages, one module each: `task(...)` says what is made from what, the rest makes it."""
