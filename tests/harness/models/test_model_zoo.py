from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from contracts.errors import InputError
from harness.models.build import ZOO, build_model, check_name

SHAPES = {
    "cnn8": (1, 28, 28),
    "digits-cnn": (1, 8, 8),
    "inception": (1, 28, 28),
    "mobilenet-v2": (1, 28, 28),
    "resnet18": (3, 32, 32),
    "vit-tiny": (1, 28, 28),
}

FACTORIES = """
from torch import nn

def good(input_shape, classes):
    channels, height, width = input_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes))

def by_num_classes(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

def other_classes(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes + 1))

def one_image(classes):
    return nn.Sequential(nn.Flatten(0), nn.Linear(128, classes))

class Pair(nn.Module):
    def forward(self, images):
        return images, images

def other_shape(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(63, classes))

def no_module():
    return "a model"

def broken():
    raise OSError("no weights here")
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], nn.Module]:
    """Return a function that builds a model of a factory in the current folder, for 1x8x8 images of ten classes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted_factories.py").write_text(FACTORIES)
    monkeypatch.delitem(__import__("sys").modules, "planted_factories", raising=False)
    return lambda name: build_model(None, f"planted_factories:{name}", (1, 8, 8), 10)


def test_every_model_of_the_zoo_has_a_shape_here() -> None:
    assert set(SHAPES) == set(ZOO)


@pytest.mark.parametrize("name", ZOO)
def test_a_model_of_the_zoo_gives_logits(name: str) -> None:
    model = build_model(name, None, SHAPES[name], 7)
    assert not model.training
    with torch.no_grad():
        assert model(torch.rand(2, *SHAPES[name])).shape == (2, 7)


@pytest.mark.parametrize("name", ["cnn8", "digits-cnn"])
@pytest.mark.parametrize("shape", [(1, 9, 9), (3, 11, 8), (2, 5, 13)])
def test_the_plain_networks_fit_odd_images(name: str, shape: tuple[int, int, int]) -> None:
    assert build_model(name, None, shape, 4)(torch.rand(1, *shape)).shape == (1, 4)


def test_cnn8_has_six_convolutions_and_two_linear_layers() -> None:
    model = build_model("cnn8", None, (1, 28, 28), 10)
    convolutions = [(1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)]
    by_hand = sum(9 * a * b + b for a, b in convolutions) + 128 * 4 * 4 * 128 + 128 + 128 * 10 + 10
    assert sum(parameter.numel() for parameter in model.parameters()) == by_hand == 549_994


def test_normalisation_lives_inside() -> None:
    model = build_model("digits-cnn", None, (1, 8, 8), 10)
    images = torch.rand(3, 1, 8, 8)
    inner = model.get_submodule("network")
    torch.testing.assert_close(model(images), inner(images * 2 - 1))


def test_the_seed_draws_the_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model = build_model("digits-cnn", None, (1, 8, 8), 10)
        return torch.cat([parameter.flatten() for parameter in model.parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_a_torchvision_model_takes_grey_images_as_three_equal_channels() -> None:
    pytest.importorskip("torchvision")
    model = build_model("torchvision:squeezenet1_1", None, (1, 32, 32), 5)
    grey = torch.rand(2, 1, 32, 32)
    assert model(grey).shape == (2, 5)
    torch.testing.assert_close(model(grey), model(grey.repeat(1, 3, 1, 1)))


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown model 'cnn9'; did you mean 'cnn8'\?.*torchvision:NAME"):
        check_name("cnn9")
    with pytest.raises(InputError, match="unknown model ''"):
        build_model(None, None, (1, 8, 8), 10)
    pytest.importorskip("torchvision")
    with pytest.raises(InputError, match="unknown torchvision model 'resnet17'; did you mean 'resnet"):
        build_model("torchvision:resnet17", None, (3, 32, 32), 10)


def test_images_that_a_network_cannot_take_are_named() -> None:
    pytest.importorskip("torchvision")
    with pytest.raises(InputError, match=r"torchvision:squeezenet1_1 cannot take images of shape \(2, 2, 32, 32\)"):
        build_model("torchvision:squeezenet1_1", None, (2, 32, 32), 10)


@pytest.mark.parametrize("name", ["good", "by_num_classes"])
def test_a_factory_gives_the_model(factories: Callable[[str], nn.Module], name: str) -> None:
    model = factories(name)
    assert not model.training
    assert model(torch.rand(3, 1, 8, 8)).shape == (3, 10)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("other_classes", r"must return logits of shape \(batch, 10\), for a batch of 2 it returned \(2, 11\)"),
        ("one_image", r"must return logits .* returned \(10,\)"),
        ("Pair", "must return logits .* returned tuple"),
        ("other_shape", r"cannot take images of shape \(2, 1, 8, 8\): RuntimeError"),
        ("no_module", r"must return a torch\.nn\.Module, it returned str"),
        ("broken", r"broken\(\) failed \(OSError: no weights here\)"),
        ("absent", "has no absent"),
    ],
)
def test_a_factory_that_fails_is_an_input_error(factories: Callable[[str], nn.Module], name: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        factories(name)
