"""Energy by the sensors that this machine has: an NVIDIA GPU's counter, a Jetson's rails, a CPU's RAPL."""
