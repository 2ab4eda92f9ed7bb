"""Data sets as images NCHW float32 in [0, 1] and int64 labels: `registry.find` finds one, its `read` reads it."""
