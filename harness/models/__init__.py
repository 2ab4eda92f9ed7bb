"""The zoo and users' own models, with normalisation inside, and checkpoints that load without executing anything."""
