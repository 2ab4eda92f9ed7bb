"""Running any attack on NumPy arrays: along a model's gradients, or by asking alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.attacks.attack import Attack, BlackBoxAttack, BlackBoxJudge, Target

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn

    Array = npt.NDArray[Any]


def adversarial_images(
    attack: Attack | BlackBoxAttack,
    model: nn.Module | None,
    judge: BlackBoxJudge | None,
    images: Array,
    labels: Array,
    *,
    epsilon: float,
    image_ids: Array,
    seed: int,
) -> Array:
    """Return adversarial images, float32 of the images' shape, inside the ball and inside [0, 1].

    Args:
        attack: with its hyper-parameters.
        model: gives the gradients; may be None for an attack that needs none.
        judge: asked about every iterate, where there is one.
        images: float32, shape (n, channels, height, width), in [0, 1].
        labels: int64, shape (n,).
        epsilon: radius, in pixel units.
        image_ids: int64, shape (n,): places in the data set, which random draws depend on.
        seed: of all random draws.
    """
    way: Any = attack
    if not attack.needs_gradient:
        return way(judge, images, labels, epsilon=epsilon, image_ids=image_ids, seed=seed)  # type: ignore[no-any-return]
    import torch

    def asked(iterates: Tensor, places: Tensor) -> Tensor:
        assert judge is not None
        return torch.from_numpy(judge(iterates.numpy(), places.numpy()))

    assert model is not None, "an attack along gradients needs a model"
    found: Tensor = way(
        Target(model, asked if judge is not None else None),
        torch.from_numpy(images),
        torch.from_numpy(labels),
        epsilon=epsilon,
        image_ids=torch.from_numpy(image_ids),
        seed=seed,
    )
    return found.numpy()
