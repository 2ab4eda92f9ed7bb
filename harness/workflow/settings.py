"""From a name or a file and the command line's overrides to a checked experiment, and back to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from contracts.errors import InputError, nearest, unknown_name
from contracts.files import write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from harness.workflow.experiment import Experiment

_Schema = TypeVar("_Schema", bound="BaseModel")

DEFAULT = "digits"
DEFAULT_FILE = "harness.toml"
RECORD = "experiment.toml"
RUNS = Path("runs")

_WHICH_MODEL = frozenset({"name", "factory", "onnx"})


@dataclass(frozen=True)
class Resolved:
    """An experiment and where it lies.

    Attributes:
        name: of the experiment.
        experiment: checked settings.
        workspace: the run folder, which may not exist yet.
    """

    name: str
    experiment: Experiment
    workspace: Path


def built_in() -> tuple[str, ...]:
    """Return the names of the experiments that ship with the harness."""
    folder = resources.files("harness.workflow") / "experiments"
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")))


def resolve(name: str | None, workspace: Path | None, overrides: Sequence[str], onnx: Path | None = None) -> Resolved:
    """Find, override and check an experiment.

    An experiment file that is named is what counts. Otherwise the run folder's own record counts, where there is one,
    so that later commands act on what earlier ones made.

    Args:
        name: a built-in name or a TOML file; None is `harness.toml` in the current folder, else `digits`.
        workspace: the run folder; None is `runs/<experiment>`.
        overrides: `section.key=value` each.
        onnx: a user's graph, which takes the place of the experiment's model; without a name it is an experiment of
            its own, named after the file.

    Raises:
        InputError: there is no such experiment, it is not TOML, or a setting is unknown or out of range.
    """
    if name is None and workspace is None and onnx is not None:
        workspace = _default_workspace(onnx.stem, onnx)
    if name is None and workspace is not None and (workspace / RECORD).exists():
        source, title = workspace / RECORD, workspace.name
        values = read_toml(source)
        title = str(values.pop("name", title))
    elif name is None and workspace is not None and onnx is not None:
        source, title, values = onnx, onnx.stem, {"data": {"name": "npz"}}
    else:
        named = name or (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else DEFAULT)
        title, source, values = _named(named)
        workspace = workspace or _default_workspace(title, source)
        if named in built_in() and (workspace / RECORD).exists():
            source = workspace / RECORD
            values = read_toml(source)
            if (held := values.pop("name", title)) != title:
                raise InputError(
                    f"{workspace} holds the experiment {held}, not {title}: leave {title} out or choose another "
                    "--workspace"
                )
    if onnx is not None:
        if source == workspace / RECORD and "onnx" not in values.get("model", {}):
            raise InputError(f"{workspace} holds a model that is not an ONNX file: choose another --workspace")
        values["model"] = {"onnx": str(onnx)}
    for override in overrides:
        _override(values, override)
    return Resolved(title, check(values, str(source)), workspace)


def _default_workspace(title: str, source: Path) -> Path:
    if title in {"", ".", ".."} or "/" in title or "\0" in title:
        raise InputError(f"{source}: name {title!r} cannot be the name of a run folder: choose a plain word")
    return RUNS / title


def check(values: Mapping[str, Any], where: str) -> Experiment:
    """Turn plain values into an experiment.

    Raises:
        InputError: the first setting that is unknown (with the nearest known one) or out of range.
    """
    from harness.workflow.experiment import Experiment

    return validated(Experiment, values, where)


def validated(schema: type[_Schema], values: Mapping[str, Any], where: str) -> _Schema:
    """Turn plain values into what a schema describes.

    Raises:
        InputError: the first setting that is unknown (with the nearest known one) or out of range.
    """
    from pydantic import ValidationError

    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error, schema)}") from error
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def record(resolved: Resolved) -> Callable[[], None]:
    """Write the resolved experiment into the run folder; return what puts the former record back."""
    import tomli_w

    path = resolved.workspace / RECORD
    former = path.read_text(encoding="utf-8") if path.exists() else None

    def take_back() -> None:
        if former is None:
            path.unlink(missing_ok=True)
        else:
            write_text(path, former)

    values = {"name": resolved.name, **resolved.experiment.model_dump(mode="json", exclude_none=True)}
    write_text(path, tomli_w.dumps(values))
    return take_back


def _named(name: str) -> tuple[str, Path, dict[str, Any]]:
    if name in built_in():
        text = (resources.files("harness.workflow") / "experiments" / f"{name}.toml").read_text(encoding="utf-8")
        return name, Path(f"{name} (built in)"), tomllib.loads(text)
    path = Path(name)
    if path.suffix != ".toml":
        raise unknown_name("experiment", name, (*built_in(), "FILE.toml"))
    values = read_toml(path)
    title = str(values.pop("name", Path.cwd().name if path.name == DEFAULT_FILE else path.stem))
    return title, path, values


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's values.

    Raises:
        InputError: it cannot be read, or is not TOML.
    """
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return values
    except OSError as error:
        raise InputError(f"experiment file {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"experiment file {path} is not TOML: {error}") from error


def _override(values: dict[str, Any], override: str) -> None:
    address, equals, text = override.partition("=")
    *sections, key = address.strip().split(".")
    if not equals or not key:
        raise InputError(f"--set {override!r} must be written section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        value = text.strip()  # a bare word is a string
    place = values
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise InputError(f"--set {override!r}: {section} is a value, not a section")
    if sections == ["model"] and key in _WHICH_MODEL:
        for other in _WHICH_MODEL - {key}:
            place.pop(other, None)  # a model is one of these: naming one takes the others back
    place[key] = value


def _sentence(error: ValidationError, schema: type[BaseModel]) -> str:
    """Return the first of a schema's complaints: which setting, what is wrong, what is known there."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if not str(part).startswith("function-")]
    address = ".".join(place)
    if first["type"] != "extra_forbidden":
        given = f", got {first['input']!r}" if not isinstance(first["input"], dict) else ""
        return f"{address}: {first['msg']}{given}"
    section: Any = schema
    for part in place[:-1]:
        if not part.isdigit():  # a number is a place in a list of sections
            section = _section(section.model_fields[part].annotation)
    known = [name for name, field in section.model_fields.items() if field.repr]  # the others are no keys of a file
    known += getattr(section, "SECTIONS", ())
    return f"unknown key {address}{nearest(place[-1], known) or ';'} known here: {', '.join(known)}"


def _section(annotation: Any) -> Any:
    """Return the section that a key holds, or holds a list of."""
    return next((part for part in get_args(annotation) if hasattr(part, "model_fields")), annotation)
