"""A loaded engine: fresh scores for a batch of images, and no gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError

Array = npt.NDArray[np.float32]
Loaded = TypeVar("Loaded", bound="Engine")


@dataclass(frozen=True)
class LoadOptions:
    """How an engine is loaded.

    Attributes:
        batch_size: images the engine takes at a time; larger batches are cut, smaller ones padded.
        threads: CPU threads it may use; 0 leaves that to the runtime.
        cuda_graph: run bound batches as one CUDA graph, where the runtime has them.
    """

    batch_size: int = 100
    threads: int = 0
    cuda_graph: bool = False


@dataclass(frozen=True)
class Spans:
    """Where one query's time went, by a GPU's events, as trtexec defines them.

    Attributes:
        h2d_ms: copying the images to the GPU.
        compute_ms: the engine's kernels.
        d2h_ms: copying the scores back.
        enqueue_ms: the host's clock around the call that starts the kernels, which runs beside them.
    """

    h2d_ms: float
    compute_ms: float
    d2h_ms: float
    enqueue_ms: float

    @property
    def latency_ms(self) -> float:
        """Copies and kernels together."""
        return self.h2d_ms + self.compute_ms + self.d2h_ms


class Engine(ABC):
    """A context manager around one loaded engine; a backend writes the four abstract methods.

    Attributes:
        input_shape: channels, height, width of one image.
        classes: number of scores.
        options: how it is loaded.
        rows: images of one run; a backend whose engines do not take every batch size sets it when it activates.
    """

    def __init__(self, input_shape: tuple[int, int, int], classes: int, options: LoadOptions) -> None:
        self.input_shape = input_shape
        self.classes = classes
        self.options = options
        self.rows = options.batch_size
        self._active = False

    def __enter__(self: Loaded) -> Loaded:
        self._activate()
        self._active = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._active = False
        self._deactivate()

    def infer(self, images: Array) -> Array:
        """Return the scores of a batch of any size.

        Args:
            images: float32, shape (n, channels, height, width), in [0, 1].

        Returns:
            float32, shape (n, classes): a new array that no later call writes into.

        Raises:
            InputError: the images do not have the engine's shape, or the engine is not active.
        """
        self._check(images)
        size = self.rows
        scores = np.empty((len(images), self.classes), np.float32)
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            rows = len(batch)
            if rows < size:
                batch = np.concatenate([batch, np.repeat(batch[-1:], size - rows, axis=0)])
            scores[start : start + rows] = self._infer(np.ascontiguousarray(batch))[:rows]
        return scores

    def bind(self, images: Array) -> Callable[[], None]:
        """Put one full batch in place and return a function that runs it once, synchronously: the timed span.

        Raises:
            InputError: the batch is not exactly the loaded batch size.
        """
        self._check(images)
        if len(images) != self.options.batch_size:
            raise InputError(f"the engine is loaded for batches of {self.options.batch_size}, got {len(images)}")
        return self._bind(np.ascontiguousarray(images))

    def bind_spans(self, images: Array) -> Callable[[], Spans] | None:
        """As `bind`, but the function returns where the time went; None where the runtime cannot tell.

        Raises:
            InputError: the batch is not exactly the loaded batch size.
        """
        del images
        return None

    def _check_active(self) -> None:
        if not self._active:
            raise InputError("the engine is not active: use it in a with-statement")

    def _check(self, images: Array) -> None:
        self._check_active()
        if images.ndim != 4 or images.shape[1:] != self.input_shape or images.dtype != np.float32:
            raise InputError(
                f"the engine takes float32 images of shape (n, {', '.join(map(str, self.input_shape))}), "
                f"got {images.dtype} {images.shape}"
            )

    @abstractmethod
    def _activate(self) -> None:
        """Load into the runtime."""

    @abstractmethod
    def _infer(self, images: Array) -> Array:
        """Return the scores of exactly as many images as a run takes; the caller copies them at once."""

    @abstractmethod
    def _bind(self, images: Array) -> Callable[[], None]:
        """Return a function that runs the bound batch once."""

    @abstractmethod
    def _deactivate(self) -> None:
        """Free the runtime's memory."""
