"""From a name to a model: the zoo, torchvision's, or a user's own factory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from contracts.errors import InputError, MissingDependencyError, unknown_name
from harness.callables import find_callable

if TYPE_CHECKING:
    from torch import nn

ZOO = ("cnn8", "digits-cnn", "inception", "mobilenet-v2", "resnet18", "vit-tiny")
TORCHVISION = "torchvision:"

_HALF = 0.5  # pixels in [0, 1] become [-1, 1], as in the paper
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def check_name(name: str) -> None:
    """Refuse a model name that no rule of `build_model` fits, without importing torch.

    Raises:
        InputError: with the nearest known name.
    """
    if name not in ZOO and not name.startswith(TORCHVISION):
        raise unknown_name("model", name, (*ZOO, f"{TORCHVISION}NAME"))


def build_model(name: str | None, factory: str | None, input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return an untrained model with its normalisation inside.

    Args:
        name: a name of the zoo or `torchvision:NAME`; its weights are drawn from torch's global generator.
        factory: `package.module:callable`, instead of a name; called with those of `input_shape` and `classes` (or
            `num_classes`) that it accepts, and returning a module that takes pixels in [0, 1].
        input_shape: channels, height, width.
        classes: number of classes.

    Raises:
        InputError: unknown name, a factory that fails, or an output that is not (batch, classes).
        MissingDependencyError: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "this stage needs torch: install it with: pip install 'edge-robustness-harness[train]'"
        ) from error
    model = _from_factory(factory, input_shape, classes) if factory else _from_name(name or "", input_shape, classes)
    model.eval()
    try:
        with torch.no_grad():
            logits = model(torch.zeros(2, *input_shape))
    except Exception as error:  # whatever the user's own module raises
        raise InputError(
            f"model {factory or name} cannot take images of shape {(2, *input_shape)}: {type(error).__name__}: {error}"
        ) from error
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != (2, classes):
        raise InputError(
            f"model {factory or name} must return logits of shape (batch, {classes}), for a batch of 2 it returned "
            f"{shape}"
        )
    return model


def _from_name(name: str, input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    check_name(name)
    from harness.models import zoo

    if name.startswith(TORCHVISION):
        return zoo.Normalised(_torchvision(name.removeprefix(TORCHVISION), classes), *_IMAGENET)
    builders: dict[str, Callable[[tuple[int, int, int], int], nn.Module]] = {
        "cnn8": zoo.cnn8,
        "digits-cnn": zoo.digits_cnn,
        "inception": zoo.inception,
        "mobilenet-v2": zoo.mobilenet_v2,
        "resnet18": zoo.resnet18,
        "vit-tiny": zoo.vit_tiny,
    }
    channels = input_shape[0]
    return zoo.Normalised(builders[name](input_shape, classes), [_HALF] * channels, [_HALF] * channels)


def _torchvision(name: str, classes: int) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise unknown_name("torchvision model", name, known)
    network: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    return network


def _from_factory(factory: str, input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    from torch import nn

    found = find_callable(factory, "model.factory")
    model = found.call(input_shape=input_shape, classes=classes, num_classes=classes)
    if not isinstance(model, nn.Module):
        raise InputError(f"model.factory {factory} must return a torch.nn.Module, it returned {type(model).__name__}")
    return model
