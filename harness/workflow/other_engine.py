"""The engine that another one is compared with: of this run folder by its name, or any that lies on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.errors import InputError, unknown_name
from contracts.files import sha256_json
from engines.backend import EngineManifest
from engines.loading import MANIFEST, read_manifest
from engines.registry import NAMES

ENGINES = "engines"


@dataclass(frozen=True)
class OtherEngine:
    """An engine that is here already.

    Attributes:
        folder: where it lies.
        manifest: its description.
        sha256: digest over its files.
    """

    folder: Path
    manifest: EngineManifest
    sha256: str


def find_other(run_folder: Path, name: str) -> OtherEngine:
    """Return the engine of a name.

    Args:
        run_folder: of this experiment.
        name: `openvino-fp32` for an engine of this run folder, or an engine's folder, or a run folder with one engine.

    Raises:
        InputError: there is none of that name, or several.
    """
    own = run_folder / ENGINES / name
    if (own / MANIFEST).exists():
        return _read(own)
    folder = Path(name)
    if (folder / MANIFEST).exists():
        return _read(folder)
    if (folder / ENGINES).is_dir():
        found = _engines(folder)
        if len(found) == 1:
            return _read(found[0])
        names = ", ".join(str(each) for each in found) or "none"
        raise InputError(f"{folder} has {len(found)} engines: name one of them, with --against ({names})")
    if folder.exists():
        raise InputError(f"{folder} is no engine's folder and no run folder: name one, with --against")
    known = [each.name for each in _engines(run_folder)]
    if not known:
        wanted = next((backend for backend in NAMES if name.startswith(f"{backend}-")), None)
        hint = [f"--backend {wanted} --precision {name.removeprefix(f'{wanted}-')}"] if wanted else []
        raise InputError(
            f"there is no engine in {run_folder} yet: build it first with '{' '.join(['harness build', *hint])}'"
        )
    raise unknown_name("engine", name, known)


def _engines(run_folder: Path) -> list[Path]:
    folder = run_folder / ENGINES
    return sorted(path.parent for path in folder.glob(f"*/{MANIFEST}") if not path.parent.name.startswith("."))


def _read(folder: Path) -> OtherEngine:
    manifest = read_manifest(folder)
    return OtherEngine(folder, manifest, sha256_json(dict(manifest.files)))
