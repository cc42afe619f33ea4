"""``jetlane_runtime.py``: the agent's detector, with the modules it needs, as one file for people's own programs.

It contains the modules unchanged, as text, so that what boards verify and what programs run has one source.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Optional

from jetlane.remote import agent
from jetlane.remote.agent import backends

NAME = "jetlane_runtime.py"
#: A file where Python would create a folder: importing from a release must not change it.
NO_BYTECODE = {"__pycache__": "This file keeps Python from writing bytecode into the release, which must not change.\n"}
#: What the file is asked for; the backends' modules are found when the engine is known.
_WANTED = "program.detector"

_HEAD = '''"""This release's detector in one file, for your own program:

    from jetlane_runtime import Detector

    detector = Detector("/home/user/jetlane")          # the agent's folder on this board
    boxes, labels, scores = detector.detect(image)     # image: uint8 [height, width, 3], RGB, of any size

boxes are xmin, ymin, xmax, ymax in 0..1 of the image; detector.names[label] is a class's name. It needs Python 3.6 or
later, numpy, and the board's tensorrt (or onnxruntime, where the agent built for the processor). The engine is the one
that the agent built and verified; images are prepared by the function that the verification used. Detector(...,
collect=True, mask=...) lets the board's owner keep frames that it is unsure of; nothing is kept otherwise.

Below are the modules of jetlane's agent that this takes, each as it is. Made by jetlane {version}; Apache License 2.0.
"""

import importlib
import importlib.util
import sys

#: Its own for every version, so that the detectors of two releases can be used side by side.
_PACKAGE = "_jetlane_{digest}"
_PACKAGES = {packages}
_SOURCES = {{}}
'''

_MODULE = """
# ---------------------------------------------------------------------------------------------------------- {name}
_SOURCES["{name}"] = r'''{source}'''
"""

_TAIL = '''
# --------------------------------------------------------------------------------------------------- jetlane_runtime


class _Modules(object):
    """Gives the modules above to Python's import, and their lines to its tracebacks."""

    def find_spec(self, name, path=None, target=None):
        package, _, module = name.partition(".")
        if package != _PACKAGE or module not in _SOURCES:
            return None
        origin = "%s/%s.py" % (__file__, (module or "__init__").replace(".", "/"))
        return importlib.util.spec_from_loader(name, self, origin=origin, is_package=module in _PACKAGES)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(compile(self.get_source(module.__name__), module.__spec__.origin, "exec"), module.__dict__)

    def get_source(self, name):
        return _SOURCES[name.partition(".")[2]]


sys.meta_path.append(_Modules())
Detector = importlib.import_module(_PACKAGE + ".program.detector").Detector
AgentError = importlib.import_module(_PACKAGE + ".errors").AgentError
'''


def runtime_files() -> dict[str, str]:
    """What a release carries of it, text by path."""
    return {NAME: runtime_file(), **NO_BYTECODE}


@lru_cache(maxsize=1)
def runtime_file() -> str:
    """The file's text; the same wherever and whenever it is made."""
    from jetlane.version import __version__

    sources = _sources()
    body = "".join(_MODULE.format(name=name, source=_quotable(name, text)) for name, text in sources.items())
    digest = hashlib.sha256(body.encode()).hexdigest()[:12]
    packages = sorted({name.rpartition(".")[0] for name in sources})
    return _HEAD.format(version=__version__, digest=digest, packages=packages) + body + _TAIL


def _sources() -> dict[str, str]:
    """The detector's module and all that it imports, however far, by dotted name within the agent; the backends' too.

    Packages are among them, the agent itself by the empty name.
    """
    found: dict[str, str] = {}
    wanted = [_WANTED, *(backends.module_name(backend) for backend in backends.BACKENDS)]
    while wanted:
        name = wanted.pop()
        path = _path(name)
        if name in found or path is None:
            continue
        found[name] = path.read_text(encoding="utf-8")
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        wanted += [package, *_imported(found[name], package)]
    return dict(sorted(found.items()))


def _path(name: str) -> Optional[Path]:
    """Where a module or package of the agent is; None where a name is neither."""
    place = Path(agent.__file__).parent.joinpath(*name.split("."))
    return next((path for path in (place.with_name(place.name + ".py"), place / "__init__.py") if path.is_file()), None)


def _imported(source: str, package: str) -> Iterator[str]:
    """Names that a module in a package of the agent may import from the agent, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = package.split(".") if package else []
            base = ".".join([*parts[: len(parts) - node.level + 1], *(node.module or "").split(".")]).strip(".")
            yield base
            yield from (f"{base}.{alias.name}".strip(".") for alias in node.names)


def _quotable(name: str, source: str) -> str:
    if "'''" in source:
        raise ValueError(f"{name} of the agent has ''' in it, which {NAME} cannot quote")
    return source
