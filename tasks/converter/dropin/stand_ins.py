"""Put this package's modules in the place of graphsurgeon, uff, tensorflow and tensorrt, for a while."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Optional

NAMES = ("graphsurgeon", "uff", "tensorflow", "tensorrt")
#: Modules of TensorFlow's that scripts import a name from, parents first, and the names.
_TENSORFLOW_MODULES: dict[str, tuple[str, ...]] = {
    "tensorflow.core": (),
    "tensorflow.core.framework": (),
    "tensorflow.core.framework.graph_pb2": ("GraphDef",),
    "tensorflow.core.framework.node_def_pb2": ("NodeDef",),
    "tensorflow.core.framework.attr_value_pb2": ("AttrValue",),
    "tensorflow.core.framework.tensor_pb2": ("TensorProto",),
    "tensorflow.core.framework.tensor_shape_pb2": ("TensorShapeProto",),
    "tensorflow.python": (),
    "tensorflow.python.platform": ("gfile",),
    "tensorflow.python.framework": (),
    "tensorflow.python.framework.dtypes": ("float32", "float16", "int32", "int64", "as_dtype"),
}


@contextmanager
def in_place(folder: Optional[Path] = None) -> Iterator[None]:
    """Let ``import graphsurgeon``, ``uff``, ``tensorflow`` and ``tensorrt`` find the stand-ins, whatever is installed.

    Afterwards ``sys.modules`` and ``sys.path`` are as before: modules that were loaded meanwhile stay, except those
    that got hold of a stand-in, or lie in ``folder``.

    Args:
        folder: Where a script's own modules are found.
    """
    before = dict(sys.modules)
    stand_ins = _stand_ins()
    for name in list(sys.modules):
        if _is_ours(name):
            del sys.modules[name]
    sys.modules.update(stand_ins)
    if folder is not None:
        sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if folder is not None and str(folder) in sys.path:
            sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            if _is_ours(name) or (name not in before and _is_tainted(module, folder, stand_ins)):
                del sys.modules[name]
        sys.modules.update({name: module for name, module in before.items() if _is_ours(name)})


def _stand_ins() -> dict[str, ModuleType]:
    modules = {name: importlib.import_module(f"{__package__}.{name}") for name in NAMES}
    tensorflow = modules["tensorflow"]
    compat = ModuleType("tensorflow.compat")
    compat.v1 = tensorflow  # type: ignore[attr-defined]
    tensorflow.compat = compat  # type: ignore[attr-defined]
    made = {**modules, "tensorflow.compat": compat, "tensorflow.compat.v1": tensorflow}
    for name, contents in _TENSORFLOW_MODULES.items():
        module = made[name] = ModuleType(name)
        module.__path__ = []
        vars(module).update({key: getattr(tensorflow, key) for key in contents})
        parent, _, last = name.rpartition(".")
        if parent != "tensorflow":
            setattr(made[parent], last, module)
    return made


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in NAMES


def _is_tainted(module: ModuleType, folder: Optional[Path], stand_ins: dict[str, ModuleType]) -> bool:
    if module.__name__.startswith(f"{__package__}."):
        return False
    file = getattr(module, "__file__", None)
    if folder is not None and file and Path(folder).resolve() in Path(file).resolve().parents:
        return True
    held = {id(value) for value in list(vars(module).values())}
    return any(id(stand_in) in held for stand_in in stand_ins.values())
