"""Models with gradients that an engine was made from: what attacks along gradients follow."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from importlib.util import find_spec
from typing import TYPE_CHECKING

from harness.workflow import saved_models

if TYPE_CHECKING:
    from harness.attacks.differentiable import Differentiable
    from harness.workflow.artifact import Artifact
    from harness.workflow.context import Context
    from harness.workflow.experiment import Experiment


def why_no_gradients(experiment: Experiment) -> str | None:
    """Return why there is nothing here to take gradients of; None where there is."""
    if experiment.model.onnx is not None:
        return "a given ONNX graph has no gradients"
    if find_spec("torch") is None:
        return "torch is not installed here, which gradients need"
    return None


def gradient_sources(context: Context, final: Artifact, names: Sequence[str]) -> dict[str, Differentiable]:
    """Return models with gradients of a final checkpoint, by name: "float" and "twin"."""
    import torch

    from harness.attacks.differentiable import Differentiable
    from harness.devices.half_precision import half_type

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = half_type(context.experiment.eval.gradients, device)
    # Only the images' gradient is wanted: the weights' would cost half as much again.
    twin = saved_models.load_twin(context, final).requires_grad_(False)
    sources = {}
    for name in names:
        model = deepcopy(twin).quantize(name == "twin")  # tracing it again would take longer
        sources[name] = Differentiable(model.to(device).to(memory_format=torch.channels_last), half)
    return sources
