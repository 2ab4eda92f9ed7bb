"""Print as JSON which names a module of TensorRT bindings has: `python binding_names.py MODULE`, in its own process.

Signatures are read in the first lines of pybind11's docstrings. Nothing of the module is called.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

OPENING, CLOSING = "([{<", ")]}>"
SPECIAL = "__init__ __len__ __getitem__ __setitem__ __call__ __iter__ __next__ __enter__ __exit__ __del__ __eq__"
IN_DETAIL = """
    Logger ILogger Builder IBuilderConfig INetworkDefinition ITensor ILayer IOptimizationProfile OnnxParser ParserError
    Runtime ICudaEngine IExecutionContext EngineInspector ITimingCache IHostMemory IProfiler Profiler IErrorRecorder
    IRuntimeConfig IRuntimeCache IProgressMonitor ISerializationConfig IOutputAllocator IGpuAllocator
    Dims Dims2 Dims3 Dims4
"""


def parts(text: str) -> Iterator[str]:
    """Split at the commas outside brackets and quotes."""
    depth, quote, part = 0, "", ""
    for before, letter in zip(" " + text, text, strict=False):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in OPENING:
            depth += 1
        elif letter in CLOSING and before + letter != "->":
            depth -= 1
        if letter == "," and not depth and not quote:
            yield part.strip()
            part = ""
        else:
            part += letter
    if part.strip():
        yield part.strip()


def argument(text: str) -> list[str]:
    """Split `name: type = default` into its parts; an absent type is empty, an absent default is left out."""
    head, equal, default = text.partition(" = ")
    name, _, kind = head.partition(":")
    return [name.strip(), kind.strip(), default.strip()] if equal else [name.strip(), kind.strip()]


def signature(line: str) -> dict[str, Any] | None:
    """Read `name(self: A, b: int = 0) -> C`; None where the line is none."""
    found = re.match(r"(?:\d+\. )?(?:\w+)?\((.*)\)(?: -> (.+))?$", line.strip())
    if found is None:
        return None
    return {"arguments": [argument(part) for part in parts(found[1])], "returns": found[2] or ""}


def signatures(function: Any, package: str) -> list[dict[str, Any]]:
    """Return a function's signatures, more than one where it is overloaded."""
    if inspect.isfunction(function):
        lines = [str(inspect.signature(function))]
    else:
        text = re.sub(rf"{package}(\.\w+)?\.(?=[A-Z])", "", function.__doc__ or "")
        lines = text.splitlines()[:1]
        if "Overloaded function." in text:
            lines = [line for line in text.splitlines() if re.match(rf"\d+\. {function.__name__}\(", line)]
    return [found for line in lines if (found := signature(line)) is not None]


def member(value: Any, package: str) -> dict[str, Any]:
    """Describe what a class or module has under one name."""
    if isinstance(value, staticmethod):
        return {"kind": "static method", "signatures": signatures(value.__func__, package)}
    if isinstance(value, property):
        read = signatures(value.fget, package) if value.fget else []
        kind = "static property" if "static" in type(value).__name__ else "property"
        described = {"kind": kind, "readable": bool(value.fget), "writable": bool(value.fset)}
        return {**described, "type": read[0]["returns"]} if read else described
    if callable(value) and not isinstance(value, type):
        return {"kind": "method", "signatures": signatures(value, package)}
    if isinstance(value, type):
        return {"kind": "class", "class": value.__qualname__}
    if hasattr(type(value), "__members__"):
        return {"kind": "enum value", "class": type(value).__qualname__, "name": value.name, "value": int(value)}
    return {"kind": "value", "value": value if isinstance(value, (bool, int, float, str)) else repr(value)}


def described(cls: type, package: str) -> dict[str, Any]:
    """Describe a class: an enum by its values, another by its members."""
    if hasattr(cls, "__members__"):
        values = {name: int(value) for name, value in cls.__members__.items()}
        return {"enum": values}
    own = {name: value for name, value in vars(cls).items() if not name.startswith("_") or name in SPECIAL.split()}
    return {
        "bases": [base.__name__ for base in cls.__bases__ if base.__module__.startswith(package)],
        "members": {name: member(value, package) for name, value in own.items()},
    }


def classes(owner: Any, package: str) -> Iterator[type]:
    """Yield the package's classes in a module or class, the nested ones behind their owners."""
    for value in list(vars(owner).values()):
        inside = isinstance(value, type) and value.__module__.startswith(package)
        if inside and value.__qualname__.rpartition(".")[0] == getattr(owner, "__qualname__", ""):
            yield value
            yield from classes(value, package)


def names(module: ModuleType) -> dict[str, Any]:
    """Describe a module: classes in detail, the names of the others, functions and other attributes."""
    package = module.__name__
    found = list(classes(module, package))
    detailed = [cls for cls in found if hasattr(cls, "__members__") or cls.__qualname__ in IN_DETAIL.split()]
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    others = {name: value for name, value in public.items() if not isinstance(value, (type, ModuleType))}
    return {
        "version": str(module.__version__),
        "classes": {cls.__qualname__: described(cls, package) for cls in detailed},
        "other_classes": sorted({cls.__qualname__ for cls in found} - {cls.__qualname__ for cls in detailed}),
        "attributes": {
            name: member(value, package) for name, value in others.items() if not name.startswith("common_")
        },
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(names(importlib.import_module(sys.argv[1]))))
