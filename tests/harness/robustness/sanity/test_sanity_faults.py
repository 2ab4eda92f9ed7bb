"""Faults planted in the model, the engine or the source: each is told, and by the rule that is about it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from harness.attacks.apgd import APGD, APGDDLR, APGDT
from harness.robustness.sanity.findings import Rule
from tests.harness.robustness.sanity.digit_engines import (
    PGD_10,
    Then,
    attacked,
    digit_images,
    engaged,
    engine_of,
    ruled,
    sound,
    trained,
)

Array = npt.NDArray[Any]


def broken(rules: dict[str, Rule]) -> set[str]:
    return {name for name, rule in rules.items() if rule.held is False}


def of(model: nn.Module) -> dict[str, Rule]:
    """Return the rules for a model that is its own engine."""
    return ruled(attacked(engaged(engine_of(model), model)))


def test_saturated_logits_mask_gradients() -> None:
    rules = of(Then(trained(), lambda logits: 1e4 * logits))
    found = rules["gradients neither vanish nor are NaN"]
    assert found.held is False
    assert "try apgd-dlr or apgd-t" in found.told
    assert {"queries find less than gradients", "a large epsilon turns everything"} <= broken(rules)


def test_a_loss_without_a_scale_is_not_masked() -> None:
    model = Then(trained(), lambda logits: 1e4 * logits)
    rules = ruled(attacked(engaged(engine_of(model), model), [APGDDLR(steps=20)]))
    found = rules["gradients neither vanish nor are NaN"]
    assert found.held is True
    assert "apgd-dlr climbs a loss that does not vanish" in found.told
    assert rules["queries find less than gradients"].held is True


def test_an_operation_without_a_gradient_masks_every_loss() -> None:
    model = Then(trained(), lambda logits: torch.round(logits * 8) / 8)
    rules = ruled(attacked(engaged(engine_of(model), model), [PGD_10, APGDDLR(steps=10)]))
    assert rules["gradients neither vanish nor are NaN"].held is False


def test_gradients_that_are_not_numbers_are_told() -> None:
    def root_of_zero(logits: Tensor) -> Tensor:
        return logits + torch.sqrt(logits - logits.amax(1, keepdim=True) * torch.ones_like(logits)).nan_to_num(0)

    source = Then(trained(), root_of_zero)
    rules = ruled(attacked(engaged(engine_of(trained()), source)))
    found = rules["gradients neither vanish nor are NaN"]
    assert found.held is False
    assert "not finite" in found.told


def test_noise_inside_a_model_is_told() -> None:
    source = Then(trained(), lambda logits: logits + 0.5 * torch.randn_like(logits))
    rules = ruled(attacked(engaged(engine_of(trained()), source)))
    found = rules["gradients are not random"]
    assert found.held is False
    assert "expectation over transformation" in found.told


class RowsNormalised(nn.Module):
    """Batch normalisation of every row of pixels, which does nothing before it has learnt, then the net."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.model = nn.BatchNorm2d(8, affine=False), trained()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.model(self.norm(images.transpose(1, 2)).transpose(1, 2))
        return logits


def test_batch_statistics_of_training_mode_are_told() -> None:
    rule = "gradients are not random"
    assert ruled(attacked(engaged(engine_of(trained()), RowsNormalised().eval())))[rule].held is True
    found = ruled(attacked(engaged(engine_of(trained()), RowsNormalised().train())))[rule]
    assert found.held is False
    assert "in training mode" in found.told


@pytest.mark.parametrize("where", ["engine", "source", "both"])
def test_probabilities_are_not_taken_for_logits(where: str) -> None:
    softmax = Then(trained(), partial(torch.softmax, dim=1))
    engine, source = (softmax if where in (side, "both") else trained() for side in ("engine", "source"))
    rules = ruled(attacked(engaged(engine_of(engine), source)))
    found = rules["scores are logits, not probabilities"]
    assert found.held is False
    assert ("the engine" in found.told) == (where != "source")
    assert ("the source twin" in found.told) == (where != "engine")


def test_logarithms_of_probabilities_will_do() -> None:
    rules = ruled(attacked(engaged(engine_of(Then(trained(), partial(torch.log_softmax, dim=1))), trained())))
    assert broken(rules) == set()


def twin(scale: float) -> nn.Module:
    """Return the net's twin, its activations' scales off by a factor."""
    from harness.compression.traced import traced
    from harness.compression.twin import Twin

    made = Twin(traced(trained(), (1, 8, 8)))
    made.calibrate("minmax", [torch.from_numpy(digit_images().images)])
    for quantizer in made.activation_quantizers().values():
        quantizer.scale.mul_(scale)
    return made.quantize(True).requires_grad_(False)


def test_a_twin_with_wrong_scales_is_not_the_engine() -> None:
    engine = engine_of(twin(1.0))
    rule = "gradients are of the engine's own function"
    assert broken(ruled(attacked(engaged(engine, twin(1.0))))) == set()
    found = ruled(attacked(engaged(engine, twin(0.1))))[rule]
    assert found.held is False
    assert "the same scales" in found.told


def test_another_checkpoint_is_not_the_engine() -> None:
    other = trained(9)
    rules = ruled(attacked(engaged(engine_of(trained(9)), other, split=digit_images(9))))
    assert rules["gradients are of the engine's own function"].held is True
    with torch.random.fork_rng():
        torch.manual_seed(5)
        untrained = type(other)(9).eval().requires_grad_(False)
    rules = ruled(attacked(engaged(engine_of(trained(9)), untrained, split=digit_images(9))))
    assert rules["gradients are of the engine's own function"].held is False


def test_an_engine_with_another_number_of_scores_is_not_the_source() -> None:
    engine = engine_of(Then(trained(), lambda logits: nn.functional.pad(logits, (0, 1), value=-50.0)))
    found = ruled(attacked(engaged(engine, trained())))["gradients are of the engine's own function"]
    assert found.held is False
    assert "11 scores and the source twin 10" in found.told


def test_scores_that_are_not_finite_are_counted() -> None:
    def spoilt(images: Array) -> Array:
        scores: Array = engine_of(trained())(images).copy()
        scores[images[:, 0].mean((1, 2)) > 0.35, 3] = np.nan
        return scores

    engagement = engaged(spoilt, trained())
    clean = int((digit_images().images[:, 0].mean((1, 2)) > 0.35).sum())
    found = ruled(attacked(engagement))["scores are finite"]
    assert clean > 0
    assert found.held is False
    assert f"of {clean} of 120 clean images" in found.told
    assert "of 0 adversarial" not in found.told


def test_two_classes_have_no_ratio() -> None:
    engagement = engaged(engine_of(trained(2)), trained(2), split=digit_images(2), epsilon=0.2)
    rule = "the loss has enough classes"
    plain = ruled(attacked(engagement, [APGD(steps=10)]))
    assert plain[rule].held is True
    assert broken(plain) == set()
    for attack in (APGDDLR(steps=5), APGDT(steps=5)):
        found = ruled(attacked(engagement, [attack]))[rule]
        assert found.held is False
        assert f"{attack.name} divides by logits that 2 classes do not have" in found.told


def test_ten_classes_are_enough() -> None:
    assert ruled(attacked(sound().engagement, [APGDT(steps=2, targets=1)]))["the loss has enough classes"].held is True
