from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from harness.compression.traced import traced
from harness.compression.twin import Twin
from harness.devices.half_precision import has_bfloat16
from harness.training.mixed_precision import autocast
from harness.training.recipe import METHODS, Method
from tests.harness.training.small_tasks import halves, network, recipe, trained

EVERY = pytest.mark.parametrize("method", METHODS)


@EVERY
def test_the_same_seed_gives_the_same_bits(method: Method) -> None:
    states = []
    for seed, noise in ((1, 5), (1, 6), (2, 5)):
        model = network()
        torch.manual_seed(noise)  # what was drawn before must not matter
        trained(model, recipe(method, flip=True), seed=seed)
        states.append(torch.cat([tensor.flatten().float() for tensor in model.state_dict().values()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@EVERY
def test_a_separable_task_is_learnt(method: Method) -> None:
    model, split = network(), halves()
    first = trained(network(), recipe(method, epochs=1, learning_rate=1e-6)).loss
    last = trained(model, recipe(method, epochs=6)).loss
    assert last < 0.3 * first
    assert not model.training
    decisions = model(torch.from_numpy(split.images)).argmax(1).numpy()
    assert (decisions == split.labels).mean() > 0.95


def test_the_loss_returned_is_the_last_epoch_s_mean_over_images() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).eval()
    split = halves(41)
    with torch.no_grad():
        scores = model(torch.from_numpy(split.images))
    expected = nn.functional.cross_entropy(scores, torch.from_numpy(split.labels)).item()
    found = trained(model, recipe(epochs=1, learning_rate=1e-9, weight_decay=0.0), split=split).loss
    assert found == pytest.approx(expected, rel=0.02)  # bfloat16, where the machine has it


@pytest.mark.parametrize("images", range(1, 9))
def test_any_number_of_steps_can_be_planned(images: int) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    trained(model, recipe(epochs=1, batch_size=1), split=halves(images))
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(("n", "sizes"), [(17, {9, 8}), (33, {11}), (32, {16}), (10, {10})])
def test_every_image_is_seen_in_batches_of_equal_size(n: int, sizes: set[int]) -> None:
    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(36), nn.Linear(36, 2)
            self.seen: list[Tensor] = []

        def forward(self, images: Tensor) -> Tensor:
            self.seen.append(images.detach().flatten(1).clone())
            scores: Tensor = self.head(self.norm(images.flatten(1)))
            return scores

    model, split = Watching(), halves(n)
    trained(model, recipe(epochs=1), split=split)
    assert {len(batch) for batch in model.seen} == sizes
    seen = torch.cat(model.seen).sum(1).sort().values
    torch.testing.assert_close(seen, torch.from_numpy(split.images).flatten(1).sum(1).sort().values)


@EVERY
def test_batch_norm_s_statistics_are_updated_by_training_passes_alone(method: Method) -> None:
    model = network()
    trained(model, recipe(method, epochs=3))
    passes = 2 if method == "trades" else 1  # the clean images and the perturbed ones
    assert int(model.get_buffer("1.num_batches_tracked")) == 3 * 6 * passes


def test_a_twin_s_weights_learn_and_its_activation_ranges_stay() -> None:
    twin = Twin(traced(network(), (1, 6, 6)))
    twin.calibrate("minmax", iter([torch.from_numpy(halves().images)]))
    before = {name: float(quantizer.scale) for name, quantizer in twin.activation_quantizers().items()}
    weights = {name: tensor.clone() for name, tensor in twin.weights().items()}
    trained(twin, recipe("n-fgsm"))
    assert {name: float(quantizer.scale) for name, quantizer in twin.activation_quantizers().items()} == before
    assert all(not torch.equal(tensor, weights[name]) for name, tensor in twin.weights().items())
    assert all((quantizer.scale > 0).all() for quantizer in twin.weight_quantizers().values())


def test_mixed_precision_keeps_weights_in_float32() -> None:
    device = torch.device("cpu")
    with autocast(device):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert (product.dtype == torch.bfloat16) == has_bfloat16(device)
    model = network()
    trained(model, recipe(epochs=1))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_ranges_that_are_told_to_follow_do() -> None:
    twin = Twin(traced(network(), (1, 6, 6)))
    twin.calibrate("minmax", iter([torch.from_numpy(halves().images)]))
    quantizers = twin.activation_quantizers()
    for quantizer in quantizers.values():
        quantizer.scale.mul_(10)
    before = {name: float(quantizer.scale) for name, quantizer in quantizers.items()}
    trained(twin.follow(0.2), recipe("n-fgsm"))
    assert all(0 < float(quantizer.scale) < before[name] for name, quantizer in quantizers.items())
