"""One interface to a GPU's memory, streams, events and graphs, on pycuda or cuda-python.

`driver` asks the NVIDIA driver what GPU is here and needs neither package; `implementations.open_device` gives a
`Device` on whichever is installed. A device uses the primary context of the first GPU, the one torch uses too, so
memory of either is memory to the other.
"""
