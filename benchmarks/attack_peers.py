"""Who takes part in `attacks.py`: every attack of the set by the project and by pyautoattack, and PGD by four."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.attack_subject import Setting, Subject

OURS, PEER = "ours", "pyautoattack"

PEERS = {
    "pyautoattack": "pyautoattack",
    "torchattacks": "torchattacks",
    "foolbox": "foolbox",
    "art": "adversarial-robustness-toolbox",
}
"""What a peer is imported as, and what it is installed as."""

_REQUESTS = ("requests", "urllib3", "idna", "certifi", "charset-normalizer")
_BESIDE = {
    "torchattacks": ("tqdm", *_REQUESTS),
    "foolbox": ("eagerpy", "gitpython", "gitdb", "smmap", *_REQUESTS),
    "art": ("six", "tqdm"),
}
"""What a peer needs that the project does not have."""

PGD_STEPS = 20
SEED = 0

Attacking = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]
"""Images, labels and their rows to adversarial images."""


def installed(peer: str) -> bool:
    """Say whether a peer can be imported."""
    return importlib.util.find_spec(peer) is not None


def version(peer: str) -> str:
    """Return a peer's version, or that it is not there."""
    try:
        return metadata.version(PEERS[peer])
    except metadata.PackageNotFoundError:
        return "not installed"


def how_to_install() -> str:
    """Return one sentence that says how to get the peers that are missing, or an empty string."""
    missing = [peer for peer in PEERS if not installed(peer)]
    if not missing:
        return ""
    wanted = dict.fromkeys(name for peer in missing for name in (PEERS[peer], *_BESIDE.get(peer, ())))
    return (
        f"Not installed: {', '.join(PEERS[peer] for peer in missing)}; install with "
        f"`pip install --target DIR --no-deps {' '.join(wanted)}` and run again with PYTHONPATH=DIR."
    )


def attack_of_ours(name: str, subject: Subject, setting: Setting, epsilon: float, short: bool) -> Attacking:
    """Return an attack of the registry as its user writes it.

    Args:
        name: in the registry.
        subject: model and images.
        setting: which of its models.
        epsilon: of the ball.
        short: a tenth of the steps or less, to choose a setting.
    """
    from harness.attacks.differentiable import Differentiable
    from harness.attacks.registry import attack

    model = Differentiable(subject.models[setting.layout], subject.half)
    made: Any = attack(name, _shortened(name) if short else {})
    return lambda images, labels, rows: made(model, images, labels, epsilon=epsilon, image_ids=rows, seed=SEED)


def _shortened(name: str) -> dict[str, Any]:
    from harness.attacks.registry import attack

    made: Any = attack(name, {})
    few = {"steps": 10, "targets": 1, "queries": 200}
    return {field.name: few[field.name] for field in fields(made) if field.name in few}


def attack_of_peer(name: str, model: nn.Module, epsilon: float, device: str, short: bool) -> Attacking:
    """Return pyautoattack's attack of that name, with one restart: so many has our default."""
    given: dict[str, Any] = {"norm": "Linf", "eps": epsilon, "seed": SEED, "device": device, "n_restarts": 1}
    steps, targets, queries = (10, 1, 200) if short else (100, 9, 5000)
    module, kind, options = {
        "apgd-ce": ("autopgd_base", "APGDAttack", {"n_iter": steps}),
        "apgd-t": ("autopgd_base", "APGDAttack_targeted", {"n_iter": steps, "n_target_classes": targets}),
        "fab-t": ("fab_pt", "FABAttack_PT", {"n_iter": steps, "n_target_classes": targets, "targeted": True}),
        "square": ("square", "SquareAttack", {"n_queries": queries, "resc_schedule": False}),
    }[name]
    made = getattr(importlib.import_module(f"pyautoattack.{module}"), kind)(model, **given, **options)
    return lambda images, labels, _rows: made.perturb(images, labels)


def pgd_contestants(
    subject: Subject, setting: Setting, epsilon: float, steps: int, seed: int
) -> dict[str, Callable[[], Any]]:
    """Return, by name, calls that attack all images by PGD from a random start and return the adversarial ones.

    The seed is ours; the others draw from the generators of torch and NumPy.
    """
    import torch

    def by_batches(attacking: Attacking) -> Tensor:
        return torch.cat([attacking(*batch) for batch in subject.batches(rows, setting)])

    rows = torch.arange(len(subject.images), device=subject.images.device)
    model = subject.models[setting.layout]
    makers = {"torchattacks": _torchattacks, "foolbox": _foolbox}
    found: dict[str, Callable[[], Any]] = {
        OURS: partial(by_batches, _pgd_of_ours(subject, setting, epsilon, steps, seed))
    }
    for name, make in makers.items():
        if installed(name):
            found[name] = partial(by_batches, make(model, epsilon, steps))
    if installed("art"):
        found["art"] = _art(model, subject, setting.batch, epsilon, steps)
    return found


def _pgd_of_ours(subject: Subject, setting: Setting, epsilon: float, steps: int, seed: int) -> Attacking:
    from harness.attacks.differentiable import Differentiable
    from harness.attacks.pgd import PGD

    target = Differentiable(subject.models[setting.layout], subject.half)
    made = PGD(steps=steps, step_size=epsilon / 10, random_start=True)
    return lambda images, labels, rows: made(target, images, labels, epsilon=epsilon, image_ids=rows, seed=seed)


def _torchattacks(model: nn.Module, epsilon: float, steps: int) -> Attacking:
    made = importlib.import_module("torchattacks").PGD(model, epsilon, epsilon / 10, steps, random_start=True)
    return lambda images, labels, _rows: made(images, labels)


def _foolbox(model: nn.Module, epsilon: float, steps: int) -> Attacking:
    foolbox = importlib.import_module("foolbox")
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=next(model.parameters()).device)
    made = foolbox.attacks.LinfPGD(abs_stepsize=epsilon / 10, steps=steps, random_start=True)
    return lambda images, labels, _rows: made(wrapped, images, labels, epsilons=epsilon)[1]


def _art(model: nn.Module, subject: Subject, batch: int, epsilon: float, steps: int) -> Callable[[], Any]:
    """ART takes NumPy arrays and makes the batches itself."""
    import torch

    estimators = importlib.import_module("art.estimators.classification")
    place = "art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch"
    classifier = estimators.PyTorchClassifier(
        model,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=tuple(subject.images.shape[1:]),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="gpu" if subject.device == "cuda" else "cpu",
    )
    made = importlib.import_module(place).ProjectedGradientDescentPyTorch(
        classifier,
        norm=np.inf,
        eps=epsilon,
        eps_step=epsilon / 10,
        max_iter=steps,
        num_random_init=1,
        batch_size=batch,
        verbose=False,
    )
    images, labels = subject.images.cpu().numpy(), subject.labels.cpu().numpy()
    return lambda: made.generate(images, labels)
