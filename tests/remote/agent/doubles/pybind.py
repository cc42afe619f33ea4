"""What pybind's classes are like: enums, dimensions, memory without a length, attributes that are there or are not."""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
import inspect
import os
import signal
import types
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

#: Names of classes whose objects end the process when they are released, as TensorRT 8.6.1 does.
FATAL: set[str] = set()
#: Names of the classes of objects that were released, in that order.
RELEASED: list[str] = []


def let_go(thing: Any, kill: Any = os.kill, process: Any = os.getpid) -> None:
    """An object's end. The functions are arguments, as modules are taken apart before the last objects."""
    name = type(thing).__name__
    RELEASED.append(name)
    if name in FATAL:
        kill(process(), signal.SIGSEGV.value)


class Strict:
    """Reading and setting an attribute that the class does not name raises AttributeError; what is set is recorded.

    A context manager as TensorRT's objects are: it frees the object on exit up to TensorRT 7, and warns since 8.
    """

    __slots__ = ("_board", "_freed")

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if not name.startswith("_"):
            self._board.used(type(self).__name__, name, "set")

    def __del__(self) -> None:
        let_go(self)

    def __enter__(self) -> Any:
        if not self._board.frees_on_exit:
            warnings.warn("Context managers for TensorRT types are deprecated.", DeprecationWarning, stacklevel=2)
        return self

    def __exit__(self, *error: object) -> None:
        if self._board.frees_on_exit:
            object.__setattr__(self, "_freed", True)


def create(board: Any, kind: type, *arguments: Any) -> Any:
    """What a factory gives; such classes have no constructor of their own."""
    made = object.__new__(kind)
    object.__setattr__(made, "_board", board)
    object.__setattr__(made, "_freed", False)
    slots = [name for base in reversed(kind.__mro__[:-2]) for name in base.__dict__.get("__slots__", ())]
    for name, value in zip(slots, arguments):
        object.__setattr__(made, name, value)
    return made


class Kind:
    """A value of an enum as pybind makes it."""

    def __init__(self, enum: str, name: str, value: int) -> None:
        self._enum, self.name, self.value = enum, name, value

    def __int__(self) -> int:
        return self.value

    __index__ = __int__

    def __str__(self) -> str:
        return f"{self._enum}.{self.name}"

    def __repr__(self) -> str:
        return f"<{self}: {self.value}>"


def enum(name: str, **members: int) -> Any:
    """A class with one Kind per member."""
    kinds = {member: Kind(name, member, value) for member, value in members.items()}
    return type(name, (), {**kinds, "__members__": kinds})


class Dims:
    """Iterable, indexable, equal to a tuple; no tuple."""

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = tuple(shape)

    def __len__(self) -> int:
        return len(self._shape)

    def __getitem__(self, index: Any) -> Any:
        return self._shape[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._shape)

    def __eq__(self, other: object) -> bool:
        return self._shape == tuple(other) if isinstance(other, (Dims, tuple, list)) else False

    def __repr__(self) -> str:
        return repr(self._shape)


class IHostMemory:
    """A buffer without a length: ``host_memory`` makes them."""

    @property
    def nbytes(self) -> int:
        raise NotImplementedError


def host_memory(data: bytes) -> Any:
    """ctypes structures are the one thing in Python that has the buffer protocol and no len()."""
    fields = {
        "_fields_": [("_bytes", ctypes.c_uint8 * len(data))],
        "nbytes": property(lambda self: len(data)),
        "__del__": let_go,
    }
    return type("IHostMemory", (ctypes.Structure,), fields).from_buffer_copy(data)


def outdated(text: str) -> None:
    """What a deprecated call of the bindings does, said of the line that called it."""
    warnings.warn(f"Use {text} instead.", DeprecationWarning, stacklevel=4)


def module(board: Any, version: str, names: dict[str, Any]) -> Any:
    """A module of these names, every public call of its classes and functions recorded."""
    made = types.ModuleType("tensorrt")
    made.__version__ = version  # type: ignore[attr-defined]
    made.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    for name, thing in names.items():
        if inspect.isclass(thing):
            _record_methods(board, name, thing)
        elif inspect.isfunction(thing):
            thing = _recorded(board, "", name, thing)
        setattr(made, name, thing)
    return made


def _record_methods(board: Any, owner: str, kind: type) -> None:
    for name, thing in list(vars(kind).items()):
        if inspect.isfunction(thing) and (not name.startswith("_") or name == "__init__"):
            setattr(kind, name, _recorded(board, owner, name, thing))


def _recorded(board: Any, owner: str, name: str, function: Any) -> Any:
    method = bool(owner)

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        if method and getattr(given[0], "_freed", False):
            raise RuntimeError(f"{owner}.{name} of an object that was freed: this ends the process")
        board.used(owner, name, "call", len(given) - method, *sorted(named))
        return function(*given, **named)

    return call


def surface(made: Any) -> dict[str, Any]:
    """All that a double offers: {class: {"methods": {name: [arguments]}, "attributes": [...], "members": {...}}}.

    The functions of the module itself stand under "".
    """
    found: dict[str, Any] = {"": {"methods": {}, "attributes": [], "members": {}}}
    for name, thing in vars(made).items():
        if name.startswith("__"):
            continue
        if inspect.isfunction(thing):
            found[""]["methods"][name] = _arguments(thing, 0)
        elif inspect.isclass(thing):
            found[name] = _offered(thing)
        else:
            found[""]["attributes"].append(name)
    return found


def _offered(kind: type) -> dict[str, Any]:
    row: dict[str, Any] = {"methods": {}, "attributes": [], "members": {}}
    row["members"] = {member: int(value) for member, value in kind.__dict__.get("__members__", {}).items()}
    for base in reversed(kind.__mro__):
        for name, thing in vars(base).items():
            if (name.startswith("_") and name != "__init__") or isinstance(thing, Kind) or base is object:
                continue
            if inspect.isfunction(thing):
                row["methods"][name] = _arguments(thing, 1)
            elif inspect.isclass(thing) or isinstance(thing, property) or inspect.ismemberdescriptor(thing):
                row["attributes"].append(name)
    return row


def _arguments(function: Any, skipped: int) -> list[str]:
    return list(inspect.signature(function).parameters)[skipped:]
