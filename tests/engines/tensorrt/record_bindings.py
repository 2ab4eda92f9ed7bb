"""Record the names of the real TensorRT Python bindings: `python tests/engines/tensorrt/record_bindings.py`.

The bindings' wheels hold an extension module and no TensorRT. It imports on any Linux once small empty libraries stand
in for TensorRT's own, exporting the symbols that it wants; nothing can be run with them. Needs a network, cc, nm and
readelf, and tensorrt-rtx installed. Version 8.6.1 has wheels up to Python 3.11.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded"
WHEELS = {
    "8.6.1": "tensorrt-bindings==8.6.1",
    "10.3.0": "tensorrt-cu12-bindings==10.3.0",
    "10.13.3": "tensorrt-cu12-bindings==10.13.3.9.post1",
    "10.16.1": "tensorrt-cu12-bindings==10.16.1.11",
    "11.4.0": "tensorrt-cu12-bindings==11.4.0.106",
}
RTX = "rtx-1.7.1"


def output(*command: str | Path) -> str:
    """Return what a command prints."""
    return subprocess.run(list(command), check=True, stdout=subprocess.PIPE, text=True).stdout


def unpacked(requirement: str, folder: Path) -> Path:
    """Download a wheel for the running Python and unpack it into `folder`."""
    output(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def stand_ins(extension: Path, folder: Path) -> Path:
    """Compile empty libraries under the names of NVIDIA's that `extension` needs, into `folder`."""
    present = ctypes.CDLL(None)  # Python's and the C library's symbols must stay the real ones
    undefined = [line.split() for line in output("nm", "-D", "--undefined-only", extension).splitlines()]
    wanted = [
        symbol for kind, symbol in undefined if kind == "U" and "@" not in symbol and not hasattr(present, symbol)
    ]
    folder.mkdir()
    source = folder / "stand_in.c"
    source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in wanted))
    for line in output("readelf", "-d", extension).splitlines():
        library = line.rpartition("[")[2].rstrip("]")
        if "(NEEDED)" in line and library.startswith("libnv"):
            output("cc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", "-o", folder / library, source)
    return folder


def listed(module: str, environment: dict[str, str]) -> dict[str, Any]:
    """Import a module in a process of its own and return its names."""
    command = [sys.executable, str(HERE / "binding_names.py"), module]
    child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    names: dict[str, Any] = json.loads(child.stdout)
    return names


def bindings(requirement: str) -> dict[str, Any]:
    """Return the names in a wheel of bindings."""
    with tempfile.TemporaryDirectory() as scratch:
        package = unpacked(requirement, Path(scratch))
        libraries = stand_ins(package / "tensorrt_bindings" / "tensorrt.so", Path(scratch) / "libraries")
        return listed("tensorrt_bindings", {"LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(package)})


def write(name: str, module: str, names: dict[str, Any]) -> None:
    """Write one record, a class or attribute a line."""
    records = {"module": module, **names}
    lines: list[str] = []
    for key, value in records.items():
        if key in {"classes", "attributes"}:
            inner = [f"{json.dumps(at)}: {json.dumps(below, separators=(',', ':'))}" for at, below in value.items()]
            lines.append(f"{json.dumps(key)}: {{\n" + ",\n".join(inner) + "\n}")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    path = RECORDED / f"{name}.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sys.stdout.write(f"{path.relative_to(HERE)}: {names['version']}, {path.stat().st_size / 1e3:.0f} kB\n")


def main() -> None:
    """Record every version."""
    RECORDED.mkdir(exist_ok=True)
    for name, requirement in WHEELS.items():
        write(name, "tensorrt", bindings(requirement))
    write(RTX, "tensorrt_rtx", listed("tensorrt_rtx_bindings", {}))


if __name__ == "__main__":
    main()
