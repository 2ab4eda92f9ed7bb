"""Random changes of training images that keep their class: mirrored, shifted."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def augmented(images: Tensor, *, flip: bool, crop: int) -> Tensor:
    """Return images mirrored and shifted at random, every one by its own draw from torch's global generator.

    Args:
        images: float, shape (n, channels, height, width).
        flip: mirror each left to right with probability 1/2.
        crop: shift each by -crop to crop pixels along height and width, as a random crop of the image with that many
            pixels of zeros around it; 0 shifts none.
    """
    if flip:
        mirrored = torch.rand(len(images), device=images.device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if crop:
        rows, columns = torch.randint(2 * crop + 1, (2, len(images)), device=images.device)
        images = shifted(images, rows, columns, crop)
    return images


def shifted(images: Tensor, rows: Tensor, columns: Tensor, padding: int) -> Tensor:
    """Return from every image, with zeros around it, the window that begins at its own place.

    Args:
        images: float, shape (n, channels, height, width).
        rows: int64, shape (n,), in [0, 2 padding]: the window's first row; `padding` leaves the image as it is.
        columns: as `rows`: its first column.
        padding: width of the frame of zeros.
    """
    height, width = images.shape[2:]
    windows = pad(images, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
    found = windows[torch.arange(len(images), device=images.device), :, rows, columns]
    return found.contiguous(memory_format=torch.channels_last)
