"""Attacks on differentiable models and on anything that gives scores; useful by themselves.

    from harness.attacks import APGD

    adversarial = APGD(steps=100)(model, images, labels, epsilon=8 / 255)

`model` is any function from float32 tensors (n, channels, height, width) in [0, 1] to logits (n, classes), `labels` are
int64 (n,); what comes back has the images' shape and lies inside the ball and inside [0, 1]. See `Attack.__call__`.
"""

from harness.attacks.apgd import APGD, APGDDLR, APGDT
from harness.attacks.black_box.noise import Noise
from harness.attacks.black_box.rays import RayS
from harness.attacks.black_box.square import Square
from harness.attacks.fab import FABT
from harness.attacks.fgsm import FGSM
from harness.attacks.pgd import PGD

__all__ = ["APGD", "APGDDLR", "APGDT", "FABT", "FGSM", "PGD", "Noise", "RayS", "Square"]
