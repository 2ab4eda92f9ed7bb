"""The picture in docs/architecture.md is the code's."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("grimp")

import grimp

ROOT = Path(__file__).parent.parent
PACKAGES = ("harness", "engines", "calibration", "reports", "contracts")


def room(module: str) -> str:
    """Return the room that a module stands in: a package, or a child of `harness`."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "harness" else parts[0]


def test_the_import_picture_is_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests' own folders mirror the packages' names.
    monkeypatch.setattr(sys, "path", [place for place in sys.path if not place.startswith(str(ROOT / "tests"))])
    # A cache that another set of packages was read into knows fewer imports.
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    real = {
        (room(importer), room(imported))
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    }
    outside = {"harness", "contracts"}  # the package's own version, and what everything may import
    real = {(one, other) for one, other in real if one != other and not {one, other} & outside}
    drawn = re.findall(r"^  (\S+) --> (\S+)$", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.M)
    assert set(drawn) == real


def test_every_room_is_described() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.stem for path in (ROOT / "harness").iterdir() if not path.name.startswith(("_", "py."))}
    assert not {name for name in rooms if f"`harness/{name}`" not in text}
