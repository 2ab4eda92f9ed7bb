"""What a device hands out: freed once, by its user or when the device closes, and refused afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeAlias

from contracts.errors import InputError
from engines.cuda.calls import Calls, Handle

Alive: TypeAlias = "dict[int, Owned]"
"""What lives on one device, the newest last."""


class Owned(ABC):
    """One block of memory, stream, event or graph of a device."""

    kind: ClassVar[str]

    def __init__(self, calls: Calls, handle: Handle, alive: Alive) -> None:
        self._calls = calls
        self._handle = handle
        self._alive = alive
        alive[id(self)] = self

    def close(self) -> None:
        """Free it; a second call does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            del self._alive[id(self)]
            self._destroy(handle)

    def _living(self) -> Handle:
        if self._handle is None:
            raise InputError(
                f"this {self.kind} of a CUDA device is closed, or its device is: use it while both are open"
            )
        return self._handle

    @abstractmethod
    def _destroy(self, handle: Handle) -> None:
        """Give it back to the driver."""
