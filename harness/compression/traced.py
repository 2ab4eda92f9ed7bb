"""A classifier as a flat graph of ATen operators: what a twin is made of, whatever way the model was written.

`torch.export` sees modules, functions and methods alike, in-place operations are made functional, attention is taken
apart into its matrix products, and batch norms are folded into the layer before them, as every deployed engine does.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import fx, nn

from contracts.errors import InputError
from harness.compression.composites import COMPOSITES
from harness.compression.created import follow_device
from harness.compression.fold import fold_batch_norms
from harness.models.quiet import quiet

_ATEN = torch.ops.aten
# Autocast gives a type that was not traced, and another machine another device.
_CHECK = _ATEN._assert_tensor_metadata.default
_COMPARED = 3  # another number of images than tracing saw
# Folded layers add in another order, a few rounding errors a layer; a wrong axis or a missing term is far beyond.
_TOLERANCE = 1e-3
_VIEWS = (_ATEN.view.default, _ATEN._unsafe_view.default)


def traced(model: nn.Module, input_shape: tuple[int, int, int]) -> fx.GraphModule:
    """Return the same function in evaluation mode, for batches of any size.

    Args:
        model: in evaluation mode; it is copied, and stays as it is. Its parameters keep their names.
        input_shape: channels, height, width of its images.

    Raises:
        InputError: the model's control flow depends on its data, so that it cannot be traced, or random images show
            that the trace is another function.
    """
    example = torch.zeros(2, *input_shape)
    batch = torch.export.Dim("batch", min=1)
    try:
        with quiet("torch", "torch._subclasses", "torch.export"):
            copy = deepcopy(model).eval()
            program = torch.export.export(copy, (example,), dynamic_shapes=({0: batch},), strict=False)
            program = program.run_decompositions(dict(COMPOSITES))
            network = _flat(program.module())
    except Exception as error:  # tracing runs the user's own forward
        reason = next(iter(str(error).strip().splitlines()), "")
        raise InputError(
            f"{type(model).__name__} cannot be traced by torch.export ({type(error).__name__}: {reason}): its forward "
            "must not branch on the values of tensors, and must take batches of any size"
        ) from error
    follow_device(network)
    fold_batch_norms(network)
    _check_same(model, network, input_shape)
    return network


def _check_same(model: nn.Module, network: fx.GraphModule, input_shape: tuple[int, int, int]) -> None:
    images = torch.rand(_COMPARED, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, found = deepcopy(model).eval()(images), network(images)
    largest = float(wanted.nan_to_num(0.0, 0.0, 0.0).abs().max())
    # Scores that are not finite in both are calibration's to name.
    if not torch.allclose(found, wanted, rtol=0, atol=_TOLERANCE * largest, equal_nan=True):
        apart = float((found - wanted).abs().max())
        raise InputError(
            f"{type(model).__name__} was traced as another function (scores up to {largest:.3g} are {apart:.3g} "
            "apart): its forward must depend on the images alone, not on random numbers or what it keeps between calls"
        )


def _flat(exported: fx.GraphModule) -> fx.GraphModule:
    """Return the graph with one plain input and one plain output, free to be changed and trained."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in exported.graph.nodes:
        if node.op == "output":
            (scores,) = node.args[0]
            graph.output(copies[scores])
        elif node.op != "call_module" and node.target is not _CHECK:  # the only modules check the input's shape
            copies[node] = graph.node_copy(node, copies.__getitem__)
            # A view needs memory in the order of the dimensions, which images in channels-last order have not.
            if node.target in _VIEWS:
                copies[node].target = _ATEN.reshape.default
    return fx.GraphModule(exported, graph)
