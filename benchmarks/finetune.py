"""Adversarial fine-tuning beside the procedure of arXiv 2403.09441: its time, and what it is worth.

`python benchmarks/finetune.py [--images 60000]`: one standard model (the 8-layer CNN, Fashion-MNIST) is fine-tuned
twice, by the paper's procedure (PGD of 20 steps from zero, 3 epochs, float32, SGD with learning rate 0.01 and momentum
0.9, batches of 64: 63 gradient passes an image) and by ours, the recipe of the study's adversarial fine-tuning. Both
are timed in this run, on the GPU where there is one, validation included, and judged by PGD-40 with 10 restarts on the
first 1,000 test images, in float32. Exits with 1 where ours takes more than a sixth of the time or is less robust.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

# A script finds modules in its own folder first, and this one has the name of a module there.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

if TYPE_CHECKING:
    from torch import nn

    from harness.data.dataset import DataSet, Split
    from harness.training.recipe import Recipe

FineTune = Callable[["nn.Module", "Split"], float]
"""Fine-tunes a model in place; returns gradient passes an image."""

EPSILON = 0.05
SHARE_OF_TIME = 1 / 6
_SEED = 0


@dataclass(frozen=True)
class Outcome:
    """What a fine-tuning took and gave.

    Attributes:
        who: its name.
        seconds: wall time.
        passes: gradient passes an image.
        clean: accuracy on clean images.
        robust: accuracy under the judging attack.
    """

    who: str
    seconds: float
    passes: float
    clean: float
    robust: float


def main() -> int:
    """Fine-tune twice, judge both, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000, help="the first so many training images")
    parser.add_argument("--judged", type=int, default=1000, help="the first so many test images")
    asked = parser.parse_args()

    from harness.data.registry import find
    from harness.devices.environment import environment

    data = find("fashion-mnist").read()
    training, test = data.train.take(slice(asked.images)), data.test.take(slice(asked.judged))
    standard = _standard(data, training)
    contestants: dict[str, FineTune] = {"ours": _train, "reference": _reference}
    found = [_outcome(who, fine_tune, deepcopy(standard), training, test) for who, fine_tune in contestants.items()]
    place = environment()
    print(f"{place.cpu}, {place.cores} cores; torch {place.packages['torch']}; {asked.images} training images")
    print(f"{'':<10} {'seconds':>8} {'passes':>7} {'clean':>7} {'robust':>7}")
    for each in found:
        print(f"{each.who:<10} {each.seconds:>8.0f} {each.passes:>7.1f} {each.clean:>7.4f} {each.robust:>7.4f}")
    ours, reference = found
    share = ours.seconds / reference.seconds
    holds = share <= SHARE_OF_TIME and ours.robust >= reference.robust
    print(
        f"time, ours / reference: {share:.3f}, at most {SHARE_OF_TIME:.3f}; robust, ours - reference: "
        f"{100 * (ours.robust - reference.robust):+.2f} points, at least 0: {'holds' if holds else 'DOES NOT HOLD'}"
    )
    return 0 if holds else 1


def _standard(data: DataSet, training: Split) -> nn.Module:
    """Return a model that was trained on clean images."""
    import torch

    from harness.models.build import build_model
    from harness.progress import Silent
    from harness.study.plan import base_values, read_plan
    from harness.training.loop import train
    from harness.workflow.settings import check
    from harness.workflow.training import recipe

    asked = check(base_values(read_plan("fashion-mnist"), "standard", _SEED), "the study").train
    torch.manual_seed(_SEED)
    model = build_model("cnn8", None, data.input_shape, data.classes)
    train(model, training, recipe(asked, asked.method), seed=_SEED, progress=Silent(), title="standard training")
    return model


def _ours() -> Recipe:
    from harness.study.plan import read_plan
    from harness.workflow.experiment import Finetune
    from harness.workflow.training import recipe

    asked = Finetune.model_validate(read_plan("fashion-mnist").finetunes["adversarial"])
    return recipe(asked, asked.method)


def _train(model: nn.Module, training: Split) -> float:
    """Fine-tune by our recipe; return gradient passes an image."""
    from harness.progress import Silent
    from harness.training.loop import train

    return train(model, training, _ours(), seed=_SEED, progress=Silent(), title="our fine-tuning").gradient_passes


def _reference(model: nn.Module, training: Split) -> float:
    """Fine-tune by the paper's procedure, as plainly as it is written; return gradient passes an image."""
    import torch
    from torch.nn.functional import cross_entropy

    epochs, steps, step_size, batch = 3, 20, 0.005, 64
    torch.manual_seed(_SEED)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # as our training does
    model.to(device)
    images, labels = torch.from_numpy(training.images), torch.from_numpy(training.labels)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(images)), batch):
            pixels, classes = images[rows].to(device), labels[rows].to(device)
            change = torch.zeros_like(pixels)
            model.eval()
            for _ in range(steps):
                variable = (pixels + change).requires_grad_()
                (gradient,) = torch.autograd.grad(cross_entropy(model(variable), classes), variable)
                change = (change + step_size * gradient.sign()).clamp(-EPSILON, EPSILON)
            model.train()
            loss = cross_entropy(model(pixels + change), classes)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    model.to("cpu").eval()
    return float(epochs * (steps + 1))


def _outcome(who: str, fine_tune: FineTune, model: nn.Module, training: Split, test: Split) -> Outcome:
    from harness.attacks.pgd import PGD
    from harness.robustness.model_accuracy import clean_and_robust
    from harness.workflow.judging_attack import JudgingAttack

    started = time.perf_counter()
    passes = fine_tune(model, training)
    seconds = time.perf_counter() - started
    judge = JudgingAttack(PGD(steps=40, restarts=10, random_start=True), "linf", EPSILON, _SEED, "float32")
    right, robust = clean_and_robust(model.requires_grad_(False), test, judge)
    return Outcome(who, seconds, passes, float(right.mean()), float(robust.mean()))


if __name__ == "__main__":
    sys.exit(main())
