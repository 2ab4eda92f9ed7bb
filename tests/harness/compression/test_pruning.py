from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch_pruning")

import torch
from torch import Tensor, nn

from contracts.errors import InputError
from harness.compression.pruning import History, prune, replay
from harness.compression.size import count_macs_and_parameters
from harness.models.build import build_model
from harness.models.checkpoint import load_into, read_weights, save_weights
from tests.harness.compression.small_networks import Residual, pixels, plain, settled

EXAMPLE = torch.zeros(1, 1, 8, 8)


def shapes(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in model.parameters()]


@pytest.mark.parametrize("make", [plain, Residual])
@pytest.mark.parametrize(("sparsity", "round_to"), [(0.5, 4), (0.3, 2), (0.75, 2)])
def test_channel_counts_shrink_to_multiples(make: type[nn.Module], sparsity: float, round_to: int) -> None:
    model = settled(make())
    before = [len(module.weight) for module in model.modules() if isinstance(module, nn.Conv2d)]
    history = prune(model, EXAMPLE, method="l1", sparsity=sparsity, round_to=round_to)
    after = [len(module.weight) for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert history
    assert all(count % round_to == 0 for count in after)
    for old, new in zip(before, after, strict=True):
        assert old * (1 - sparsity) - round_to < new <= old * (1 - sparsity)
    assert model(pixels(2, 1, 8, 8)).shape == (2, 3), "the classes stay"


def test_the_smallest_channels_go() -> None:
    model = settled(plain())
    with torch.no_grad():
        model.get_parameter("0.weight")[[1, 4]] *= 1e-3
        for name in ("0.bias", "1.weight", "1.bias"):
            model.get_parameter(name)[[1, 4]] *= 1e-3
        model.get_parameter("3.weight")[:, [1, 4]] *= 1e-3
    history = prune(model, EXAMPLE, method="l1", sparsity=0.25, round_to=2)
    assert ("0", True, [1, 4]) in [(layer, out, sorted(cut)) for layer, out, cut in history]


@pytest.mark.parametrize("make", [plain, Residual])
def test_a_replayed_and_loaded_model_is_the_pruned_one(make: type[nn.Module], tmp_path: Path) -> None:
    model = settled(make())
    history = prune(model, EXAMPLE, method="l1", sparsity=0.5, round_to=2)
    save_weights(model.state_dict(), tmp_path / "weights.safetensors")
    stored: History = [(layer, out, cut) for layer, out, cut in json.loads(json.dumps(history))]
    again = settled(make(), seed=7)
    replay(again, EXAMPLE, stored)
    assert shapes(again) == shapes(model)
    load_into(again, read_weights(tmp_path / "weights.safetensors"), tmp_path)
    images = pixels(4, 1, 8, 8)
    torch.testing.assert_close(again(images), model(images), rtol=0, atol=0)


def test_resnet18_is_pruned_across_its_residual_sums() -> None:
    pytest.importorskip("torchvision")
    model = build_model("resnet18", None, (1, 16, 16), 10)
    before = count_macs_and_parameters(model, (1, 16, 16))
    prune(model, torch.zeros(1, 1, 16, 16), method="l1", sparsity=0.5, round_to=8)
    after = count_macs_and_parameters(model, (1, 16, 16))
    assert model(torch.rand(2, 1, 16, 16)).shape == (2, 10)
    assert all(new < 0.3 * old for old, new in zip(before, after, strict=True))


def test_classes_stay_where_another_layer_has_as_many_outputs() -> None:
    class HeadFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(16, 8)
            self.second = nn.Conv2d(8, 16, 3)
            self.first = nn.Conv2d(1, 8, 3)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(torch.relu(self.second(torch.relu(self.first(images)))).mean((2, 3)))
            return logits

    model = HeadFirst().eval()
    prune(model, EXAMPLE, method="l1", sparsity=0.5, round_to=2)
    assert model(pixels(2, 1, 8, 8)).shape == (2, 8)
    assert len(model.first.weight) == 4


def test_an_unknown_method_and_a_model_that_cannot_be_traced_are_refused() -> None:
    with pytest.raises(InputError, match="unknown pruning method 'l2'; did you mean 'l1'"):
        prune(settled(plain()), EXAMPLE, method="l2", sparsity=0.5, round_to=2)

    class Stubborn(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise OSError("not today")

    with pytest.raises(InputError, match=r"cannot trace Stubborn \(OSError: not today\): set prune\.method = 'none'"):
        prune(Stubborn().eval(), EXAMPLE, method="l1", sparsity=0.5, round_to=2)


def test_macs_and_parameters_are_those_counted_by_hand() -> None:
    macs, parameters = count_macs_and_parameters(settled(plain()), (1, 8, 8))
    assert macs == 64 * 8 * 9 + 9 * 16 * 8 * 9 + 144 * 3
    assert parameters == (8 * 9 + 8) + 2 * 8 + (16 * 8 * 9 + 16) + (144 * 3 + 3)


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 5, 5), 25 * 6 * 2 * 9),
        (nn.Conv2d(4, 4, 3, groups=4, stride=2), (4, 5, 5), 4 * 4 * 9),
        (nn.ConvTranspose2d(3, 2, 2, stride=2), (3, 4, 4), 16 * 3 * 2 * 4),
        (nn.Linear(7, 5), (2, 3, 7), 6 * 7 * 5),
    ],
    ids=["grouped", "depthwise", "transposed", "linear over places"],
)
def test_macs_of_one_layer(layer: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    assert count_macs_and_parameters(layer, shape)[0] == macs


def test_counting_leaves_no_hook_and_counts_a_twin_as_its_model() -> None:
    from harness.compression.traced import traced
    from harness.compression.twin import Twin

    model = settled(Residual())
    macs, parameters = count_macs_and_parameters(model, (1, 8, 8))
    assert count_macs_and_parameters(model, (1, 8, 8)) == (macs, parameters)
    assert not any(module._forward_hooks for module in model.modules())
    folded_norms = 2 * 8 + 2 * 8 - 8  # of the stem, which gains a bias, and of the first convolution
    assert count_macs_and_parameters(Twin(traced(model, (1, 8, 8))), (1, 8, 8)) == (macs, parameters - folded_norms)
