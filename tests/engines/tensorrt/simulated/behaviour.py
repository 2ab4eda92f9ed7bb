"""What every simulated object has: the module it belongs to, and a way to say something."""

from __future__ import annotations

import warnings
from typing import Any


class Behaviour:
    """Base of the behaviour classes; `_begin` stands in for TensorRT's own constructor."""

    _trt: Any

    def _begin(self) -> None:
        """Make ready."""

    def __enter__(self) -> Any:
        """Return itself, as TensorRT's deprecated context managers do."""
        warnings.warn("Context managers for TensorRT types are deprecated.", DeprecationWarning, stacklevel=2)
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        """Do nothing."""


def stored(value: Any) -> Any:
    """Declare a property that keeps what it is set to; `value` is the first, an enum's member by its name."""
    return (value,)


def say(logger: Any, severity: str, text: str) -> None:
    """Tell a logger, as C++ does: with two positional arguments."""
    logger.log(getattr(type(logger).Severity, severity), text)


def major(trt: Any) -> int:
    """Return what a module behaves like: 8, 10 or 11; TensorRT-RTX 1.7 has the flags and formats of 11."""
    return 11 if trt.__name__ == "tensorrt_rtx" else int(trt.__version__.split(".")[0])
