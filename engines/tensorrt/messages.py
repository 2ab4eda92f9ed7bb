"""What TensorRT says while it works: kept, so that a failure can be told in a sentence."""

from __future__ import annotations

from typing import Any

from engines.tensorrt.flavour import Bindings

_WORST = ("INTERNAL_ERROR", "ERROR")


class Messages:
    """A logger for TensorRT and all that it was told.

    Attributes:
        logger: an `ILogger`.
        errors: in the order they came.
        warnings: the same, each once.
        details: everything else.
    """

    def __init__(self, trt: Bindings) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.details: list[str] = []
        self.logger: Any = _logger_class(trt)(self)

    def keep(self, severity: str, message: str) -> None:
        """Sort one message by its severity."""
        if severity in _WORST:
            self.errors.append(message)
        elif severity != "WARNING":
            self.details.append(message)
        elif message not in self.warnings:
            self.warnings.append(message)

    @property
    def reason(self) -> str:
        """The first error, which names the cause; the later ones follow from it."""
        return _one_line(self.errors[0]) if self.errors else "it said nothing"


def _logger_class(trt: Bindings) -> Any:
    base: Any = trt.ILogger

    class Logger(base):  # type: ignore[misc]  # the class is the module's own, which is known when it runs
        def __init__(self, messages: Messages) -> None:
            base.__init__(self)
            self._messages = messages

        def log(self, severity: Any, message: str) -> None:
            self._messages.keep(severity.name, message)

    return Logger


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
