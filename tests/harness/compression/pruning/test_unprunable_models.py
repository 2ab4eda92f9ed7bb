from __future__ import annotations

import pytest

pytest.importorskip("torch_pruning")

import torch
from torch import Tensor, nn

from contracts.errors import InputError
from harness.compression.pruning import Pruning, prune, replay
from tests.harness.compression.pruning.networks import Swapped, ThroughNumpy, layers, swapping
from tests.harness.compression.small_networks import Shared, pixels, plain, settled

EXAMPLE = torch.zeros(1, 1, 8, 8)


def test_a_module_of_fixed_size_is_named_and_ignoring_it_helps() -> None:
    model = settled(swapping())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(
        InputError, match=r"cannot trace or cut Sequential \(RuntimeError: .* in '2'\): put '2' into prune.ig"
    ):
        prune(model, EXAMPLE, Pruning())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()), "as it was"
    history = prune(model, EXAMPLE, Pruning(ignore=("2",)))
    assert layers(model) == {"0": 8, "3": 4, "5": 4, "8": 3}
    again = settled(swapping())
    replay(again, history)
    torch.testing.assert_close(again(pixels(2, 1, 8, 8)), model(pixels(2, 1, 8, 8)), rtol=0, atol=0)


def test_a_module_that_cannot_be_traced_is_named_and_ignoring_it_helps() -> None:
    first, *rest = list(plain().children())
    model = settled(nn.Sequential(first, nn.Sequential(ThroughNumpy()), *rest))
    with pytest.raises(InputError, match=r"in '1\.0'\): put '1\.0' into prune\.ignore, or set prune\.method = 'none'"):
        prune(model, EXAMPLE, Pruning())
    prune(model, EXAMPLE, Pruning(ignore=("1",)))
    assert layers(model) == {"0": 8, "4": 8, "7": 3}
    assert "forward" not in vars(model.get_submodule("1.0")), "nothing is left behind"


def test_a_parameter_across_the_channels_is_named_with_its_module() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Parameter(torch.rand(1, 1, 8, 1))

        def forward(self, features: Tensor) -> Tensor:
            return features * self.rows

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), Scaled(), nn.Conv2d(16, 8, 1), nn.Flatten(), nn.Linear(512, 3)
    )
    with pytest.raises(InputError, match=r"'1\.rows' has 8 entries where 16 channels or more arrive in '1'\): put '1'"):
        prune(model.eval(), EXAMPLE, Pruning())
    prune(model, EXAMPLE, Pruning(ignore=("1",)))
    assert layers(model) == {"0": 16, "2": 4, "4": 3}


def test_all_modules_that_must_be_ignored_are_named() -> None:
    parts = list(swapping().children())
    model = settled(nn.Sequential(*parts[:6], Swapped(8), nn.Conv2d(8, 8, 1), *parts[6:]))
    with pytest.raises(InputError, match=r"put '2', '6' into prune\.ignore"):
        prune(model, EXAMPLE, Pruning())
    prune(model, EXAMPLE, Pruning(ignore=("2", "6")))
    assert layers(model) == {"0": 8, "3": 4, "5": 8, "7": 4, "10": 3}


def test_a_model_that_fails_everywhere_is_refused() -> None:
    class Stubborn(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise OSError("not today")

    with pytest.raises(
        InputError, match=r"cannot trace or cut Stubborn \(OSError: not today\): set prune\.method = 'none'"
    ):
        prune(Stubborn().eval(), EXAMPLE, Pruning())


def test_nothing_cut_is_said() -> None:
    with pytest.raises(
        InputError, match=r"not a single channel of Sequential was cut .* round_to 32: lower prune\.round_to"
    ):
        prune(settled(plain()), EXAMPLE, Pruning(round_to=32))
    shared = settled(Shared())  # takes the image in the layer whose outputs it takes too
    with pytest.raises(InputError, match="not a single channel of Shared was cut"):
        prune(shared, torch.zeros(1, 2, 4, 4), Pruning())


@pytest.mark.parametrize(
    ("pruning", "message"),
    [
        (Pruning(limits={"3x": 0.1}), r"prune\.limits names '3x', which is no module of Sequential; did you mean '3'"),
        (Pruning(ignore=("stem",)), r"prune\.ignore names 'stem', which is no module of Sequential: a name"),
        (Pruning(limits={"6": 0.1}), r"prune\.limits wants 0\.1 of '6', which has no output channels that can be cut"),
        (Pruning(limits={"2": 0.1}), r"prune\.limits wants 0\.1 of '2', which has no output channels that can be cut"),
    ],
)
def test_names_that_mean_nothing_are_refused(pruning: Pruning, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prune(settled(plain()), EXAMPLE, pruning)


def test_a_history_of_another_model_is_refused() -> None:
    history = prune(settled(swapping()), EXAMPLE, Pruning(ignore=("2",)))
    with pytest.raises(InputError, match="Sequential is not the model that was pruned: channels of '5' cannot be cut"):
        replay(settled(plain()), history)
    with pytest.raises(InputError, match=r"channels of '3' cannot be cut \(IndexError: channel 99 of 16\)"):
        replay(settled(plain()), [("3", True, [99])])
