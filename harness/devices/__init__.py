"""What this machine is and what state it is in: the CPU, an NVIDIA GPU (NVML), a Jetson board (sysfs).

Every reader of files takes a root folder, so that a recorded tree can stand in for a board.
"""
