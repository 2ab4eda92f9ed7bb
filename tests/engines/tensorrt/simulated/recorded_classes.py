"""Make classes and enums that own exactly the recorded names; what they do comes from ordinary classes of behaviour.

A behaviour class holds methods and properties under TensorRT's names. Those that a version did not record are left out
of its class; a recorded one without behaviour raises NotImplementedError. Calls and assignments are held against the
record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from tests.engines.tensorrt.simulated.signatures import chosen, fits

Record = Mapping[str, Any]
SPECIAL = {"__hash__", "__repr__", "__getattribute__", "__len__", "__iter__", "__getitem__", "__bool__"}


class EnumValue:
    """A value of a pybind11 enum: no int, but convertible to one; equal to the values of its own type alone."""

    __members__: dict[str, Any]
    name: str
    value: int

    def __new__(cls, value: int) -> EnumValue:
        """Return the value that has this number."""
        for member in cls.__members__.values():
            if member.value == value:
                return member  # type: ignore[no-any-return]
        raise ValueError(f"{value} is not a valid {cls.__name__}")

    def __int__(self) -> int:
        return self.value

    def __index__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and int(other) == self.value

    def __hash__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}: {self.value}>"

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


def enum(name: str, record: Record, module: ModuleType) -> type:
    """Return a recorded enum; names that share a number share the value, as in pybind11."""
    made = type(name.rpartition(".")[2], (EnumValue,), {"__module__": module.__name__, "__members__": {}})
    by_number: dict[int, Any] = {}
    for member, number in record["enum"].items():
        if number not in by_number:
            by_number[number] = object.__new__(made)
            vars(by_number[number]).update(name=member, value=number)
        made.__members__[member] = by_number[number]  # type: ignore[attr-defined]
        setattr(made, member, by_number[number])
    return made


class RecordedType(type):
    """The type of recorded classes: only those with a recorded constructor can be called."""

    def __call__(cls, *given: Any, **named: Any) -> Any:
        """Construct, and insist on the base's constructor as pybind11 does."""
        made = super().__call__(*given, **named)
        for base in cls.__mro__:
            if vars(base).get("_recorded") and not made.__dict__.get("_constructed"):
                raise TypeError(f"{base.__module__}.{base.__name__}.__init__() must be called when overriding __init__")
        return made


def make(cls: type, *given: Any, **named: Any) -> Any:
    """Make an object that TensorRT makes and Python code cannot: its behaviour's `_begin` is called."""
    made: Any = object.__new__(cls)
    made._constructed = True
    made._begin(*given, **named)
    return made


def not_simulated(name: str) -> Callable[..., Any]:
    """Return a function that says so."""

    def missing(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"{name} is TensorRT's, but the simulation does not have it")

    return missing


def constructor(cls_name: str, record: Record, module: ModuleType) -> Callable[..., None]:
    """Return `__init__` of a recorded class."""

    def construct(self: Any, *given: Any, **named: Any) -> None:
        if not record["signatures"]:
            raise TypeError(f"{module.__name__}.{cls_name}: No constructor defined!")
        values = chosen(module, "__init__", record["signatures"], given, named)
        self._constructed = True
        self._begin(**values)

    return construct


def method(name: str, behaviour: Any, record: Record, module: ModuleType) -> Callable[..., Any]:
    """Return a method whose calls are held against the record."""

    def call(self: Any, *given: Any, **named: Any) -> Any:
        values = chosen(module, name.rpartition(".")[2], record["signatures"], given, named)
        return behaviour(self, **values)

    call.__name__ = name.rpartition(".")[2]
    return call


def first_value(value: Any, record: Record, module: ModuleType) -> Any:
    """Return the first value of a stored property: of an enum, its member of that name."""
    kind = vars(module).get(record.get("type", "").rpartition("::")[2])
    return kind.__members__[value] if isinstance(value, str) and hasattr(kind, "__members__") else value  # type: ignore[union-attr]


def attribute(name: str, behaviour: Any, record: Record, module: ModuleType) -> property:
    """Return a property; a behaviour that is a tuple holds the first value of a stored one."""
    stored = f"_{name.rpartition('.')[2]}"
    if behaviour is None:
        getter, setter = not_simulated(name), not_simulated(name)
    elif isinstance(behaviour, property):
        getter, setter = behaviour.fget, behaviour.fset or not_simulated(name)  # type: ignore[assignment]
    else:
        first = first_value(behaviour[0], record, module)
        getter, setter = lambda self: self.__dict__.get(stored, first), lambda self, value: setattr(self, stored, value)

    def assign(self: Any, value: Any) -> None:
        kind = record.get("type", "")
        if not fits(module, value, kind, optional=kind.rpartition("::")[2].startswith("I")):
            raise TypeError(f"{name}: incompatible function arguments: needs {kind}, got {value!r}")
        setter(self, value)

    return property(getter if record["readable"] else None, assign if record["writable"] else None)


def _guarded(self: Any, name: str, value: Any) -> None:
    """Refuse attributes that the class does not have; a Python subclass and the simulation's own may have their own."""
    recorded = "_recorded" in vars(type(self))
    if recorded and not name.startswith("_") and not isinstance(getattr(type(self), name, None), property):
        kind = type(self)
        raise AttributeError(f"'{kind.__module__}.{kind.__name__}' object has no attribute '{name}'")
    object.__setattr__(self, name, value)


def inner(behaviour: type) -> Iterator[tuple[str, Any]]:
    """Yield what a behaviour class has under names of the simulation's own."""
    for cls in reversed(behaviour.__mro__):
        if cls.__module__.startswith(__package__ or "tests"):
            for name, value in vars(cls).items():
                if name in SPECIAL or (name.startswith("_") and not name.endswith("__")):
                    yield name, value


def recorded_class(name: str, record: Record, behaviour: type, bases: tuple[type, ...], module: ModuleType) -> type:
    """Return a class of a behaviour that owns exactly the recorded names."""
    members: dict[str, Any] = {"__module__": module.__name__, "_trt": module, "_recorded": name}
    members["_members"] = frozenset(record["members"])
    members |= {"__setattr__": _guarded, **dict(inner(behaviour))}
    for member, described in record["members"].items():
        full, found = f"{name}.{member}", getattr(behaviour, member, None)
        if member == "__init__":
            members[member] = constructor(name, described, module)
        elif described["kind"] == "method":
            known = callable(found) and getattr(object, member, None) is not found
            members[member] = method(full, found, described, module) if known else not_simulated(full)
        elif "property" in described["kind"]:
            members[member] = attribute(full, found, described, module)
        elif described["kind"] == "enum value":
            members[member] = vars(module)[described["class"]].__members__[described["name"]]
        elif described["kind"] == "class":
            members[member] = vars(module)[described["class"]]
    members.pop("__del__", None)
    return RecordedType(name, bases, members)


class _NotSimulatedType(type):
    """The type of classes that are TensorRT's and that the simulation does not have."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        """Refuse."""
        raise NotImplementedError(f"{cls.__name__} is TensorRT's, but the simulation does not have it")


def placeholder(name: str, module: ModuleType) -> type:
    """Return a class that only has a name."""
    return _NotSimulatedType(name, (), {"__module__": module.__name__})
