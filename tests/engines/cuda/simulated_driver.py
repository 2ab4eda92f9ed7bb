"""A SIMULATED NVIDIA driver (simulated_driver.c), for the real CUDA packages to run on where there is no GPU.

A process takes it for the driver when it starts with `environment(library)`. So tests on it run in a child, and the
process that runs the other tests never meets it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("simulated_driver.c")
ROOT = Path(__file__).parents[3]
KINDS = (
    "device_allocations",
    "host_allocations",
    "streams",
    "events",
    "graphs",
    "executable_graphs",
    "captures",
    "context_references",
    "contexts_on_this_thread",
)
_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def compiler() -> str | None:
    """Return the C compiler of this machine, or None."""
    return shutil.which(os.environ.get("CC", "cc"))


def build(folder: Path) -> Path:
    """Compile the simulated driver into `folder`, unless it is there, and return `folder/libcuda.so.1`."""
    library = folder / "libcuda.so.1"
    if not library.exists():
        found = compiler()
        assert found is not None, "no C compiler"
        flags = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1")
        subprocess.run([found, *flags, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def environment(library: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a process whose NVIDIA driver is the simulated one.

    Args:
        library: what `build` gave.
        settings: variables for it besides: `SIMULATED_...` (simulated_driver.c lists them), `HARNESS_CUDA`.
    """
    kept = {name: value for name, value in os.environ.items() if name not in {"CUDA_VISIBLE_DEVICES", "HARNESS_CUDA"}}
    paths = [str(library.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {**kept, "LD_LIBRARY_PATH": os.pathsep.join(paths), **settings}


def run_python(library: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> str:
    """Run Python on the simulated driver, in the project's root, and return what it printed.

    Raises:
        AssertionError: it failed; the message is all that it printed.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment(library, **(settings or {})),
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_pytest(library: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> str:
    """Run pytest on the simulated driver and return what it printed; files are named from the project's root.

    Raises:
        AssertionError: a test failed, or none ran.
    """
    return run_python(library, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, settings=settings)


class Simulation:
    """The simulated driver that this process runs on."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libcuda.so.1")
        self.library.simulated_live.restype = ctypes.c_long
        self._callbacks: list[object] = []

    def live(self) -> dict[str, int]:
        """Return how many of each kind are alive."""
        return {kind: self.library.simulated_live(kind.encode()) for kind in KINDS}

    def set_memory_limit(self, size_bytes: int) -> None:
        """Give the GPU so much memory."""
        self.library.simulated_set_memory_limit(ctypes.c_size_t(size_bytes))

    def fail_next(self, function: str, code: int) -> None:
        """Let the next call of a function answer an error; `function` is its exported name, "cuMemAlloc_v2"."""
        self.library.simulated_fail_next(function.encode(), code)

    def enqueue(self, stream: int, run: Callable[[], None]) -> None:
        """Enqueue what stands in for a kernel: called now or, while the stream captures, by each launch of the graph.

        Args:
            stream: a `CUstream`.
            run: may read and write the simulated device memory, whose addresses are the host's; it may not raise.
        """
        callback = _CALLBACK(lambda _: run())
        self._callbacks.append(callback)
        code = self.library.simulated_enqueue(ctypes.c_void_p(stream), callback, None)
        assert code == 0, f"simulated_enqueue answered {code}"


if __name__ == "__main__":
    build(Path(sys.argv[1]))
