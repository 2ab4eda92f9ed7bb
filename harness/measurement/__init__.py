"""Latency, memory and energy of one engine, measured in a fresh process that loads its runtime and nothing else."""
