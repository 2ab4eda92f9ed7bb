"""Write `docs/measurements/<gpu>.md`: what the GPU tests found on this GPU, with which versions, and what did not run.

`make test-gpu` calls it with the JUnit file of the run that just ended. Without an NVIDIA GPU it writes nothing.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from contracts.files import write_text
from harness.devices.environment import Environment, device_id, environment

Outcome = Literal["passed", "failed", "failed as expected", "did not run"]
OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "failed as expected", "did not run")

PACKAGES = (
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "tensorrt-rtx-cu12",
    "tensorrt-rtx-cu13",
    "cuda-bindings",
    "pycuda",
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "numpy",
)
"""What a GPU result depends on, by the names that packages are installed under; JetPack's TensorRT is `tensorrt`."""


@dataclass(frozen=True)
class Case:
    """One test of a JUnit file.

    Attributes:
        module: the test file, such as "tests/engines/test_audit.py".
        name: the test with its parameters; empty where the whole file was skipped.
        outcome: how it ended.
        reason: why it did not pass, in one line; empty where it did.
        seconds: how long it took.
    """

    module: str
    name: str
    outcome: Outcome
    reason: str
    seconds: float


@dataclass(frozen=True)
class Run:
    """A whole run of the GPU tests.

    Attributes:
        started: date and time with the zone, as pytest wrote it.
        cases: the tests, in the order they ran.
    """

    started: str
    cases: tuple[Case, ...]

    def count(self, outcome: Outcome) -> int:
        """Return how many tests ended so."""
        return sum(case.outcome == outcome for case in self.cases)

    def summary(self) -> str:
        """Return the counts in words, such as "3 passed, 1 failed, 0 failed as expected, 2 did not run"."""
        return ", ".join(f"{self.count(outcome)} {outcome}" for outcome in OUTCOMES)


def read_junit(path: Path) -> Run:
    """Read the JUnit file that `pytest --junitxml` wrote in this checkout.

    Raises:
        FileNotFoundError: pytest wrote none: it ended before its first test.
    """
    suite = ElementTree.parse(path).getroot().find("testsuite")
    if suite is None:
        return Run("", ())
    return Run(suite.get("timestamp", ""), tuple(_case(element) for element in suite.iter("testcase")))


def _case(element: ElementTree.Element) -> Case:
    dotted, name = element.get("classname", ""), element.get("name", "")
    if not dotted:  # a file that was skipped, or could not be read, as a whole
        dotted, name = name, ""
    parts = dotted.split(".")
    depth = next((i for i, part in enumerate(parts, 1) if part.startswith("test_")), len(parts))
    outcome, reason = _ending(element)
    test = "::".join([*parts[depth:], name] if name else [])
    return Case("/".join(parts[:depth]) + ".py", test, outcome, reason, float(element.get("time", 0)))


def _ending(element: ElementTree.Element) -> tuple[Outcome, str]:
    """Return how a test ended and why, in one line that names no folder of this machine."""
    for tag in ("failure", "error"):
        if (found := element.find(tag)) is not None:
            return "failed", _first_line(found.get("message", ""))
    skipped = element.find("skipped")
    if skipped is None:
        return "passed", ""
    message = skipped.get("message", "")
    if skipped.get("type") == "pytest.xfail":
        return "failed as expected", _first_line(message)
    if message == "collection skipped":  # the reason is the last part of a printed tuple, after the file's path
        whole = re.search(r"""["']Skipped: (.*)["']\)\s*$""", skipped.text or "", re.DOTALL)
        message = whole[1] if whole else "the whole file was skipped"
    return "did not run", _first_line(message)


def _first_line(message: str) -> str:
    return message.strip().split("\n")[0].strip()


def gpu_name(place: Environment) -> str | None:
    """Return the name that a record is filed under: the board's, else the GPU's, else None."""
    return (place.board if place.jetpack else None) or place.gpu


def record_name(place: Environment) -> str:
    """Return the record's file name, such as "nvidia-h200.md" or "jetson-orin-nano.md"."""
    slug = device_id(place) if place.jetpack else "-".join(re.findall(r"[a-z0-9]+", (place.gpu or "").lower()))
    return f"{slug}.md"


def versions(place: Environment) -> dict[str, str]:
    """Return what the run depended on and its version: the project, driver, CUDA, Python and the packages."""
    found = {
        "this project": _commit(),
        "NVIDIA driver": place.driver,
        "CUDA of the driver": _driver_cuda(),
        "JetPack": place.jetpack,
        "Python": place.python,
        "platform": place.platform,
        "CPU": f"{place.cpu}, {place.cores} cores",
    }
    return {name: value for name, value in found.items() if value} | {name: _installed(name) for name in PACKAGES}


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _driver_cuda() -> str | None:
    """Return the newest CUDA that the driver runs, such as "12.6", or None where NVML does not say."""
    import pynvml

    try:
        pynvml.nvmlInit()
        number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    return f"{number // 1000}.{number % 1000 // 10}"


def _commit() -> str | None:
    """Return the commit that was tested, marked "-dirty" with changes on top, or None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def markdown(run: Run, gpu: str, found: dict[str, str], command: str) -> str:
    """Return the record: a title, versions, counts by file, what failed, and what did not run with the reason."""
    rows = [(name, value) for name, value in found.items() if value != "not installed"]
    absent = ", ".join(name for name, value in found.items() if value == "not installed")
    lines = [
        f"# GPU tests on {gpu}",
        "",
        f"`{command}` on {run.started[:10]}: {run.summary()}. This page is written by that command.",
        "",
        *_table(("what", "version"), rows),
        "",
        f"Not installed: {absent}." if absent else "Every package of the list is installed.",
        "",
        "## By file",
        *(_table(("file", *OUTCOMES, "seconds"), _by_file(run.cases)) if run.cases else ["No test was found."]),
    ]
    for title, outcome in (
        ("What failed", "failed"),
        ("What failed as expected", "failed as expected"),
        ("What did not run", "did not run"),
    ):
        listed = _by_reason(case for case in run.cases if case.outcome == outcome)
        if listed or outcome != "failed as expected":
            lines += ["", f"## {title}", *(listed or ["Nothing."])]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _by_file(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    files: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases:
        files[case.module].append(case)
    return [
        (
            module,
            *(str(sum(case.outcome == outcome for case in group)) for outcome in OUTCOMES),
            f"{sum(case.seconds for case in group):.1f}",
        )
        for module, group in sorted(files.items())
    ]


def _by_reason(cases: Iterable[Case]) -> list[str]:
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for case in cases:
        reasons[case.reason or "no reason given"].append(
            f"`{case.module}::{case.name}`" if case.name else f"`{case.module}`, the whole file"
        )
    return [f"- {reason}: {', '.join(tests)}" for reason, tests in reasons.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the record of a JUnit file and say in a sentence what was written; 1 where the file is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("junit", type=Path, help="what pytest --junitxml wrote")
    parser.add_argument("--command", default="make test-gpu", help="what was run, as the record names it")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "docs/measurements")
    asked = parser.parse_args(arguments)
    place = environment()
    gpu = gpu_name(place)
    if gpu is None:
        print("No NVIDIA GPU here, so the GPU tests were skipped and no record of them is written.")
        return 0
    if not asked.junit.is_file():
        print(f"No record is written: pytest left no {asked.junit}.", file=sys.stderr)
        return 1
    run = read_junit(asked.junit)
    path = asked.folder / record_name(place)
    write_text(path, markdown(run, gpu, versions(place), asked.command))
    print(f"{path}: {run.summary()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
