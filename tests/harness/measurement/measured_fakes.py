"""Engines for the measuring process: one that works and others that die, hang or babble."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from contracts.errors import InputError
from engines.engine import Array, Engine, LoadOptions


class SummingEngine(Engine):
    """Sums its images; leaves files behind that say who loaded it, what it was given and that it was put away."""

    def __init__(self, folder: Path, options: LoadOptions) -> None:
        super().__init__((1, 4, 4), 2, options)
        self.folder = folder

    def _activate(self) -> None:
        with (self.folder / "pids").open("a") as pids:
            pids.write(f"{os.getpid()}\n")

    def _infer(self, images: Array) -> Array:
        return np.zeros((len(images), 2), np.float32)

    def _bind(self, images: Array) -> Callable[[], None]:
        assert images.min() >= 0 and images.max() <= 1
        np.save(self.folder / "images.npy", images)
        return lambda: self._query(images)

    def _query(self, images: Array) -> None:
        images.sum()
        time.sleep(0.002)

    def _deactivate(self) -> None:
        (self.folder / "put-away").touch()


class AbortingEngine(SummingEngine):
    def _query(self, images: Array) -> None:
        os.write(2, b"the runtime's last words\n")
        os.abort()


class HangingEngine(SummingEngine):
    def _query(self, images: Array) -> None:
        time.sleep(3600)


class BabblingEngine(SummingEngine):
    def _activate(self) -> None:
        super()._activate()
        sys.stdout.write("a runtime's banner, from Python\n")
        os.write(1, b"a runtime's banner, from C\n")


class RefusingEngine(SummingEngine):
    def _activate(self) -> None:
        if self.options.batch_size > 4:
            raise InputError("this engine takes at most 4 images: use a smaller batch")


class FaultyEngine(SummingEngine):
    def _activate(self) -> None:
        raise RuntimeError("no such kernel")


def summing(folder: Path, options: LoadOptions) -> Engine:
    return SummingEngine(folder, options)


def aborting(folder: Path, options: LoadOptions) -> Engine:
    return AbortingEngine(folder, options)


def hanging(folder: Path, options: LoadOptions) -> Engine:
    return HangingEngine(folder, options)


def babbling(folder: Path, options: LoadOptions) -> Engine:
    return BabblingEngine(folder, options)


def refusing(folder: Path, options: LoadOptions) -> Engine:
    return RefusingEngine(folder, options)


def faulty(folder: Path, options: LoadOptions) -> Engine:
    return FaultyEngine(folder, options)


class DawdlingEngine(SummingEngine):
    def _query(self, images: Array) -> None:
        super()._query(images)
        time.sleep(0.002)


def dawdling(folder: Path, options: LoadOptions) -> Engine:
    return DawdlingEngine(folder, options)
