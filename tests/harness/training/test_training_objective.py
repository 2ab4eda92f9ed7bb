from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from harness.training.losses import divergence
from harness.training.objective import objective
from harness.training.perturbation import Perturbation
from harness.training.recipe import METHODS, Method
from tests.harness.training.small_tasks import halves, network, recipe

EPSILON = 0.1
PERTURBING = pytest.mark.parametrize("method", [method for method in METHODS if method != "standard"])


def task() -> tuple[nn.Module, Tensor, Tensor]:
    split = halves(32)
    return network(), torch.from_numpy(split.images), torch.from_numpy(split.labels)


@PERTURBING
def test_the_search_leaves_the_model_s_state_and_gradients_alone(method: Method) -> None:
    model, images, labels = task()
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = Perturbation(method, EPSILON, 2)(model, images, labels)
    assert not torch.equal(found, images)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())


@PERTURBING
def test_perturbed_images_lie_in_the_ball_except_n_fgsm_s(method: Method) -> None:
    model, images, labels = task()
    found = Perturbation(method, EPSILON, 3)(model, images, labels)
    radius = float((found - images).abs().max())
    if method == "n-fgsm":
        assert EPSILON < radius <= 3 * EPSILON + 1e-6
    else:
        assert 0.9 * EPSILON < radius <= EPSILON + 1e-6
        assert 0 <= float(found.min()) <= float(found.max()) <= 1


@PERTURBING
def test_perturbed_images_have_a_larger_loss_than_noise_of_that_radius(method: Method) -> None:
    model, images, labels = task()
    found = Perturbation(method, EPSILON, 3)(model, images, labels)
    noisy = (images + torch.empty_like(images).uniform_(-EPSILON, EPSILON)).clamp(0, 1)
    clean = log_softmax(model(images), 1)
    if method == "trades":
        far, near = (divergence(clean, log_softmax(model(some), 1)).mean() for some in (found, noisy))
    else:
        far, near = (cross_entropy(model(some), labels) for some in (found, noisy))
    assert far > near


def test_fgsm_rs_takes_one_step_of_five_quarters_from_a_random_start() -> None:
    slopes = torch.tensor([1.0, -2.0, 3.0, -4.0])
    images, labels = torch.full((200, 1, 2, 2), 0.5), torch.ones(200, dtype=torch.int64)

    def linear(pixels: Tensor) -> Tensor:
        score = pixels.flatten(1) @ slopes
        return torch.stack([score, -score], 1)

    class Linear(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return linear(pixels)

    torch.manual_seed(0)
    found = Perturbation("fgsm-rs", EPSILON, 7)(Linear(), images, labels)
    change = (found - images).flatten(1) * slopes.sign()  # the loss rises with the score of the wrong class
    # From uniform in [-1, 1] epsilon, up by 1.25 and cut at 1: all of it at or above 0.25, five eighths at the edge.
    assert float(change.min()) >= 0.25 * EPSILON - 1e-6
    assert float((change > EPSILON - 1e-6).float().mean()) == pytest.approx(0.625, abs=0.05)


def test_the_divergence_is_torch_s() -> None:
    torch.manual_seed(0)
    clean, other = log_softmax(torch.randn(5, 4), 1), log_softmax(torch.randn(5, 4), 1)
    torch.testing.assert_close(
        divergence(clean, other).mean(), kl_div(other, clean, reduction="batchmean", log_target=True)
    )
    assert float(divergence(clean, clean).abs().max()) == 0


def test_the_divergence_s_first_step_has_the_same_direction_in_bfloat16() -> None:
    model, images, labels = task()
    found = []
    for enabled in (False, True):
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(Perturbation("trades", EPSILON, 1)(model, images, labels))
    torch.testing.assert_close(found[0], found[1])


def test_trades_weighs_the_divergence_beside_the_loss_on_clean_images() -> None:
    model, images, labels = task()
    settings = recipe("trades", trades_beta=3.0, label_smoothing=0.1, epsilon=EPSILON)
    perturbation = Perturbation.of(settings)
    torch.manual_seed(1)
    found, logits = objective(model, images, labels, perturbation, settings)
    fresh = network()
    torch.manual_seed(1)
    perturbed = perturbation(fresh, images, labels)
    fresh.train()
    clean, expected_logits = fresh(images), fresh(perturbed)
    expected = cross_entropy(clean, labels, label_smoothing=0.1) + 3 * kl_div(
        log_softmax(expected_logits, 1), softmax(clean, 1), reduction="batchmean"
    )
    torch.testing.assert_close(logits, expected_logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_gets_a_gradient_in_either_precision(method: Method) -> None:
    for enabled in (False, True):
        model, images, labels = task()
        settings = recipe(method)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss, _ = objective(model, images, labels, Perturbation.of(settings), settings)
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in (model[0].weight, model[4].weight))  # type: ignore[index]


def test_label_smoothing_spreads_a_share_over_all_classes() -> None:
    model, images, labels = task()
    settings = recipe(label_smoothing=0.2)
    found, logits = objective(model, images, labels, Perturbation.of(settings), settings)
    targets = torch.full((len(labels), 2), 0.1)
    targets[torch.arange(len(labels)), labels] = 0.9
    torch.testing.assert_close(found, -(targets * log_softmax(logits, 1)).sum(1).mean())
