"""Tensors that a model's forward creates: buffers where they are the same for every batch, on its device where not.

Tracing writes the device that it runs on into every `arange`, `ones` or `full`, and the trace could not move.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx


def follow_device(network: fx.GraphModule) -> None:
    """Let what the graph creates follow the network's and the images' device, in place.

    What is computed from no parameter, no buffer and no image, and without random numbers, is evaluated once and
    becomes a buffer, which moves with the network. What is created anew for every batch (its size depends on the
    batch's) is created where the images are.
    """
    made: dict[fx.Node, Any] = {}
    for node in network.graph.nodes:
        if node.op == "call_function" and all(each in made for each in node.all_input_nodes) and _is_fixed(node):
            args, kwargs = fx.map_arg((node.args, node.kwargs), made.__getitem__)
            made[node] = node.target(*args, **kwargs)
    for node, value in made.items():
        if isinstance(value, Tensor) and any(user not in made for user in node.users):
            _become_buffer(network, node, value)
    network.graph.eliminate_dead_code()
    _create_where_images_are(network.graph)
    network.recompile()


def _is_fixed(node: fx.Node) -> bool:
    """Return whether a node without other inputs gives one and the same value always."""
    target: Any = node.target
    random = isinstance(target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in target.tags
    return not random and not node.is_impure()


def _become_buffer(network: fx.GraphModule, node: fx.Node, value: Tensor) -> None:
    name = f"created_{node.name}"
    while hasattr(network, name):
        name += "_"
    network.register_buffer(name, value)
    with network.graph.inserting_before(node):
        buffer = network.graph.get_attr(name)
    buffer.meta = dict(node.meta)
    node.replace_all_uses_with(buffer)


def _create_where_images_are(graph: fx.Graph) -> None:
    images = next(node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_after(images):
        device = graph.call_function(getattr, (images, "device"))
    for node in graph.nodes:
        node.args, node.kwargs = fx.node.map_aggregate(
            (node.args, node.kwargs), lambda value: device if isinstance(value, torch.device) else value
        )
    if not device.users:
        graph.erase_node(device)
