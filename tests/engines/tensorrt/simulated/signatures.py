"""Hold a call against recorded pybind11 signatures: how many arguments, which keywords, of which types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

Signature = Mapping[str, Any]  # as recorded: {"arguments": [[name, type], [name, type, default], ...], "returns": type}
NUMBERS = {"int", "typing.SupportsInt"}
BUFFERS = {"buffer", "typing_extensions.Buffer"}


def bound(signature: Signature, given: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the given arguments by name, `self` left out; None where they do not fit."""
    arguments = [argument for argument in signature["arguments"] if argument[0] not in {"self", "this"}]
    names = [argument[0] for argument in arguments]
    if len(given) > len(names) or not set(named) <= set(names[len(given) :]):
        return None
    values = {**dict(zip(names, given, strict=False)), **named}
    required = {argument[0] for argument in arguments if len(argument) < 3}
    return values if required <= set(values) else None


def fits(module: ModuleType, value: Any, kind: str, *, optional: bool) -> bool:
    """Whether pybind11 would take `value` for a recorded type; of types that are not recorded, anything."""
    if value is None and optional:
        return True
    short = kind.rpartition("::")[2]
    if kind in NUMBERS:
        return hasattr(value, "__index__")
    if kind in BUFFERS:
        return _has_buffer(value)
    if kind == "str":
        return isinstance(value, str)
    if short == "Dims":
        return isinstance(value, (module.Dims, tuple, list))
    expected = vars(module).get(short)
    return not isinstance(expected, type) or isinstance(value, expected)


def _has_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def chosen(module: ModuleType, name: str, signatures: Sequence[Signature], given: Any, named: Any) -> dict[str, Any]:
    """Return the arguments by name of the first overload that fits.

    Raises:
        TypeError: None does; in pybind11's words.
    """
    for signature in signatures:
        values = bound(signature, given, named)
        kinds = {argument[0]: argument[1:] for argument in signature["arguments"]}
        if values is not None and all(
            fits(module, value, kinds[key][0], optional=kinds[key][1:] == ["None"]) for key, value in values.items()
        ):
            return values
    supported = "\n".join(f"    {i}. {described(signature)}" for i, signature in enumerate(signatures, 1))
    raise TypeError(
        f"{name}(): incompatible function arguments. The following argument types are supported:\n{supported}\n\n"
        f"Invoked with: {given}; kwargs: {named}"
    )


def described(signature: Signature) -> str:
    """Return a signature as a line."""
    arguments = ", ".join(
        name + (f": {rest[0]}" if rest and rest[0] else "") + (f" = {rest[1]}" if rest[1:] else "")
        for name, *rest in signature["arguments"]
    )
    return f"({arguments}) -> {signature['returns']}"
