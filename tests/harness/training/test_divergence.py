from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from contracts.errors import InputError
from harness.compression.traced import traced
from harness.compression.twin import Twin
from harness.models.checkpoint import read_weights
from tests.harness.training.small_tasks import halves, network, recipe, trained


class Spoilt(nn.Module):
    """A linear layer, one of whose calls gives no finite scores."""

    def __init__(self, call: int, value: float = torch.nan) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.calls = nn.Linear(36, 2), 0
        self._call, self._value = call, value

    def forward(self, images: Tensor) -> Tensor:
        self.calls += self.training
        scores: Tensor = self.head(images.flatten(1))
        return scores * self._value if self.training and self.calls == self._call else scores


def test_a_loss_that_is_not_finite_names_epoch_batch_and_the_last_good_weights(tmp_path: Path) -> None:
    told = (
        r"^training: the loss became nan in epoch 2, batch 2: lower learning_rate \(now 0.1\); "
        rf"the weights after epoch 1 are in {tmp_path}/last-good.safetensors$"
    )
    with pytest.raises(InputError, match=told):
        trained(Spoilt(8), recipe(schedule="constant"), unfinished=tmp_path)
    good = Spoilt(0)
    trained(good, recipe(epochs=1, schedule="constant"))
    found = read_weights(tmp_path / "last-good.safetensors")
    assert found.keys() == good.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in good.state_dict().items())


def test_without_a_folder_nothing_is_kept() -> None:
    with pytest.raises(InputError, match=r"the weights after epoch 1 were not kept, as no folder was given$"):
        trained(Spoilt(8), recipe())


def test_without_an_epoch_there_is_nothing_to_keep(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"in epoch 1, batch 2: lower learning_rate \(now 0.1\); no epoch was finished$"
    ):
        trained(Spoilt(2), recipe(), unfinished=tmp_path)
    assert not list(tmp_path.iterdir())


class Steep(nn.Module):
    """A linear layer, one of whose calls has gradients that are not finite."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.head, self.calls = nn.Linear(36, 2), 0
        self._call = call

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        scores: Tensor = self.head(images.flatten(1))
        if self.calls == self._call:
            scores.register_hook(lambda gradient: gradient * torch.nan)  # type: ignore[no-untyped-call]
        return scores


@pytest.mark.parametrize("batch", [3, 6])
def test_gradients_that_are_not_finite_name_their_own_batch(batch: int) -> None:
    with pytest.raises(InputError, match=f"the norm of the gradients became nan in epoch 1, batch {batch}: lower"):
        trained(Steep(batch), recipe())


def test_weights_that_the_last_batch_spoils_are_not_returned_where_nothing_looks_at_gradients() -> None:
    with pytest.raises(InputError, match="the weights became NaN or infinite in epoch 1, batch 6"):
        trained(Steep(6), recipe(gradient_clip=0.0))


def test_of_a_twin_the_float_weights_are_written_the_averaged_ones(tmp_path: Path) -> None:
    good = Twin(traced(network(), (1, 6, 6)))
    good.calibrate("minmax", iter([torch.from_numpy(halves().images)]))
    bad = Twin(traced(network(), (1, 6, 6)))
    bad.calibrate("minmax", iter([torch.from_numpy(halves().images)]))
    settings = recipe(schedule="constant", ema_decay=0.9)
    calls = 0

    def spoil(module: nn.Module, given: tuple[Tensor, ...], scores: Tensor) -> Tensor:
        nonlocal calls
        calls += module.training
        return scores * torch.nan if calls == 9 else scores

    bad.register_forward_hook(spoil)
    with pytest.raises(InputError, match="epoch 2, batch 3"):
        trained(bad, settings, unfinished=tmp_path, settle=bad.fit_weights)
    trained(good, recipe(schedule="constant", ema_decay=0.9, epochs=1), settle=good.fit_weights)
    found = read_weights(tmp_path / "last-good.safetensors")
    assert found.keys() == good.weights().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in good.weights().items())
