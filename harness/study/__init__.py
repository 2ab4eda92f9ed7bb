"""The study: a grid of base models, compressions and fine-tunings, every cell a run folder of its own."""
