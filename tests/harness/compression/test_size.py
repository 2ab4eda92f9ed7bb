from __future__ import annotations

import pytest

pytest.importorskip("torch")

from torch import nn

from harness.compression.size import Size, count_macs_and_parameters, size_of
from tests.harness.compression.small_networks import Residual, plain, settled


def test_macs_and_parameters_are_those_counted_by_hand() -> None:
    macs = 64 * 8 * 9 + 9 * 16 * 8 * 9 + 144 * 3
    parameters = (8 * 9 + 8) + 2 * 8 + (16 * 8 * 9 + 16) + (144 * 3 + 3)
    model = settled(plain())
    assert count_macs_and_parameters(model, (1, 8, 8)) == (macs, parameters)
    assert size_of(model, (1, 8, 8)) == Size(parameters, macs, weight_bytes=4 * parameters)


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
