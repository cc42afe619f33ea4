"""What a script imports beside its conversion and that is of a board: it is there, and does nothing."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Optional

from jetlane.tasks.converter.dropin.running import running
from jetlane.tasks.converter.ssd.config import pipeline_message

#: Stood in for even where they are installed: one asks for a GPU when it is imported, the other for TensorFlow. Scripts
#: export with it; the graph they then read is one that was exported before.
_ALWAYS = ("pycuda", "object_detection")
#: Stood in for where they are not installed: cameras, pictures, downloads, networks of another kind.
_WHERE_MISSING = (
    *("cv2", "PIL", "matplotlib", "wget", "torch", "torchvision", "traitlets", "ipywidgets"),
    *("tensorflow.contrib", "tensorrt.parsers", "tensorrt.lite"),
    *("Jetson", "jetson", "jetson_inference", "jetson_utils", "jetcam", "gi", "pynvml", "imutils"),
)

#: ``object_detection.protos`` are jetlane's own.
_PROTOS = "object_detection.protos."


class _Base:
    """What classes of scripts inherit from in the place of a class that is not there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


class Anything:
    """Stands in for any object: its attributes, items and results are others of its kind.

    Args:
        name: What it would be, dotted.
    """

    def __init__(self, name: str) -> None:
        self.__dict__["_dotted"] = name

    def _made(self, name: str) -> Anything:
        return type(self)(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self._made(f"{self._dotted}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._made(self._dotted)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (_Base,)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True

    def __int__(self) -> int:
        return 0

    __index__ = __int__

    def __float__(self) -> float:
        return 0.0

    def __getitem__(self, key: Any) -> Any:
        return self._made(self._dotted)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def _compared(self, other: Any) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _compared

    def __format__(self, spec: str) -> str:
        return format(0, spec) if spec else str(self)

    def _combined(self, other: Any) -> Any:
        return self._made(self._dotted)

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __floordiv__ = _combined
    __or__ = __ror__ = __and__ = __rand__ = __lshift__ = __rlshift__ = __rshift__ = _combined

    def __repr__(self) -> str:
        return f"<{self._dotted}, which is not here>"


class _Finder:
    """Finds modules of some names, whose attributes are :class:`Anything`."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        parts = name.split(".")
        if not {parts[0], ".".join(parts[:2])} & set(self._names):
            return None
        run = running()
        if run is not None:
            run.stood_in.add(parts[0])
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Absent(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _Absent(ModuleType):
    """A module that is not there."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        if self.__name__.startswith(_PROTOS):
            return pipeline_message(name)
        return Anything(f"{self.__name__}.{name}")


class _Library(ctypes.CDLL):
    """A shared library; of a board's, which cannot be loaded here, only the name."""

    def __init__(self, name: Any, *args: Any, **kwargs: Any) -> None:
        try:
            super().__init__(name, *args, **kwargs)
        except OSError:
            self._handle = 0

    def __getattr__(self, name: str) -> Any:
        if self._handle or name.startswith("__"):
            return super().__getattr__(name)
        return Anything(name)

    def __getitem__(self, name: Any) -> Any:
        return super().__getitem__(name) if self._handle else Anything(str(name))


@contextmanager
def absent_in_place() -> Iterator[None]:
    """Let a script import and load what is of a board."""
    first, last = _Finder(_ALWAYS), _Finder(_WHERE_MISSING)
    real = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in _ALWAYS}
    for name in real:
        del sys.modules[name]
    library, loader = ctypes.CDLL, ctypes.cdll
    sys.meta_path.insert(0, first)
    sys.meta_path.append(last)
    ctypes.CDLL, ctypes.cdll = _Library, ctypes.LibraryLoader(_Library)  # type: ignore[misc]
    try:
        yield
    finally:
        ctypes.CDLL, ctypes.cdll = library, loader  # type: ignore[misc]
        for finder in (first, last):
            sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _Absent)]:
            del sys.modules[name]
        sys.modules.update(real)
