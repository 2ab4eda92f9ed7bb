"""What TensorRT says while it works: kept, so that a failure can be told in a sentence.

TensorRT writes to the first logger that it was given in a process, for as long as that lives, whatever it is given
later. So there is one for each module, which is never freed, and everyone reads from it what was said since.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from engines.tensorrt.flavour import Bindings

LAYERS = "Layers:\n"
"""What the builder's list of the layers that it made begins with; TensorRT says it among its details."""

_WORST = ("INTERNAL_ERROR", "ERROR")
_KEPT = (*_WORST, "WARNING", "INFO")


# Said as errors by builds that go well: kernels that were tried in vain, and a cache that is not of this GPU.
_HARMLESS = re.compile("skipping tactic|timing cache", re.IGNORECASE)


class _Message(NamedTuple):
    severity: str
    text: str


class Messages:
    """All that TensorRT says from now on.

    Attributes:
        logger: an `ILogger`, the module's only one.
    """

    def __init__(self, trt: Bindings) -> None:
        module: Any = trt  # hashable, which a protocol does not promise
        self.logger: Any = _logger(module)
        self._start = len(self.logger.said)

    @property
    def details(self) -> list[str]:
        """What is neither an error nor a warning."""
        return [message.text for message in self._said() if message.severity not in (*_WORST, "WARNING")]

    @property
    def reason(self) -> str:
        """The first error, which names the cause of the later ones; where there is none, the last warning."""
        errors = [message.text for message in self._said() if message.severity in _WORST]
        warnings = [message.text for message in self._said() if message.severity == "WARNING"]
        telling = [text for text in errors if not _HARMLESS.search(text)] or errors or warnings[-1:]
        return " ".join(telling[0].split()).rstrip(".") if telling else "it said nothing"

    def _said(self) -> list[_Message]:
        said: list[_Message] = self.logger.said[self._start :]
        return said


@cache
def _logger(trt: Any) -> Any:
    """Return the module's logger, made on first use and kept for ever."""
    base: Any = trt.ILogger

    class Logger(base):  # type: ignore[misc]  # the class is the module's own, which is known when it runs
        def __init__(self) -> None:
            base.__init__(self)
            self.said: list[_Message] = []

        def log(self, severity: Any, message: str) -> None:
            if severity.name in _KEPT or message.startswith(LAYERS):
                self.said.append(_Message(severity.name, message))

    return Logger()
