"""The stages, the run folder, what is up to date and what must be redone."""
