"""A small net for the digits that scikit-learn brings: a model that no closed form tells the outcome on."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.data import digits
from harness.data.dataset import Location
from tests.harness.attacks.linear_models import labels_of


@cache
def trained_on_digits() -> tuple[nn.Module, Tensor, Tensor]:
    """Return the net, and 100 test images with the labels that it gives them."""
    if find_spec("sklearn") is None:
        pytest.skip("scikit-learn, which carries the digits, is not installed")
    data = digits.find(Location()).read()
    images, labels = torch.from_numpy(data.train.images[:1380]), torch.from_numpy(data.train.labels[:1380])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)
        )
        parameters = list(model.parameters())
        for _ in range(10):
            for batch in torch.randperm(len(images)).reshape(-1, 60):
                loss = cross_entropy(model(images[batch]), labels[batch])
                with torch.no_grad():  # by hand: importing torch's optimizers takes longer than all of this
                    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                        parameter.sub_(gradient, alpha=0.3)
    seen = torch.from_numpy(data.test.images[:100])
    return model, seen, labels_of(model, seen)
