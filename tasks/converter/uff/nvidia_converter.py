"""NVIDIA's own converter, in an interpreter that still has it: ``uff``, ``graphsurgeon``, a TensorFlow of their time.

It runs as a child, on the frozen graph and the ``config.py`` that was generated for it; what it writes is read back
like any other UFF file.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from jetlane.specs.catalogue import entry, match
from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.graph.load import SAVED_MODEL, read_graph_def
from jetlane.tasks.converter.uff.files import read_uff
from jetlane.tasks.converter.uff.model import Uff

#: The child, for interpreters as old as Python 3.4.
_CONVERT = """
import sys
try:
    import graphsurgeon
    import uff
except ImportError as error:
    sys.stderr.write("%s\\n" % error)
    sys.exit(3)
frozen, script, out = sys.argv[1:]
uff.from_tensorflow_frozen_model(
    frozen_file=frozen, output_nodes=["NMS"], preprocessor=script, output_filename=out, text=False
)
"""
_NOT_IMPORTABLE = 3
#: What shapes the UFF file. Where a module is no distribution, or one that was patched, its files tell it apart; it is
#: not imported, as that takes TensorFlow's seconds.
_ASK = """
import hashlib, json, os, sys
from importlib.util import find_spec
try:
    from importlib.metadata import version
except ImportError:
    from pkg_resources import get_distribution
    version = lambda name: get_distribution(name).version
found = {"python": "%d.%d.%d" % sys.version_info[:3]}
for name in ("uff", "graphsurgeon", "tensorflow", "tensorflow-gpu", "protobuf", "numpy"):
    try:
        found[name] = version(name)
    except Exception:
        pass
for name in ("uff", "graphsurgeon"):
    spec = find_spec(name)
    if spec is None:
        continue
    files = [spec.origin]
    for folder in spec.submodule_search_locations or []:
        files = [os.path.join(at, file) for at, _, inside in os.walk(folder) for file in inside if file.endswith(".py")]
    digest = hashlib.sha256()
    for file in sorted(files):
        with open(file, "rb") as source:
            digest.update(source.read())
    found[name] = (found.get(name, "") + " files " + digest.hexdigest()[:12]).strip()
print(json.dumps(found))
"""
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception)\b")
_ASK_SECONDS = 60
_CONVERT_SECONDS = 1800
#: Lines of the child's output in which the reason for its end is looked for.
_TAIL = 40
_OWN = "convert with jetlane's own converter (convert.converter: jetlane), which needs none of them"


@lru_cache
def tools(python: str) -> Mapping[str, str]:
    """Versions of what an interpreter converts with, for step keys and manifests.

    Raises:
        ConversionError: There is no such interpreter, or it does not answer; or it has no ``uff`` or ``graphsurgeon``.
    """
    asked = _run(python, ["-c", _ASK], _ASK_SECONDS)
    try:
        found: dict[str, str] = json.loads(asked.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise ConversionError(
            f"{python} does not answer as a Python interpreter does", _last(asked.stderr), f"name another, or {_OWN}"
        ) from None
    for name in ("uff", "graphsurgeon"):
        if name not in found:
            raise _absent(python, f"No module named {name!r}")
    return found


def convert_there(python: str, frozen_graph: Path, config_py: str) -> Uff:
    """Let NVIDIA's tools convert a frozen graph.

    Args:
        python: The interpreter that has them.
        config_py: Text of the preprocessing script.

    Raises:
        ConversionError: The interpreter or one of its modules is missing, or the conversion fails there; with cause and
            remedy where the message is a known one.
    """
    with tempfile.TemporaryDirectory(prefix="jetlane-nvidia-") as folder:
        script, out = Path(folder) / "config.py", Path(folder) / "model.uff"
        script.write_text(config_py)
        frozen = Path(frozen_graph).resolve()
        if frozen.name == SAVED_MODEL:  # NVIDIA's converter reads bare graphs alone
            frozen = Path(folder) / "frozen_inference_graph.pb"
            frozen.write_bytes(read_graph_def(frozen_graph).SerializeToString())
        arguments = ["-c", _CONVERT, str(frozen), str(script), str(out)]
        done = _run(python, arguments, _CONVERT_SECONDS, folder)
        if done.returncode or not out.is_file():
            raise _failure(python, done)
        uff = read_uff(out)
    _refuse_left_over(uff)
    return uff


def _run(python: str, arguments: list[str], seconds: int, folder: str = "") -> subprocess.CompletedProcess[str]:
    program = os.path.abspath(python) if os.sep in python else python  # the child works in a folder of its own
    try:
        return subprocess.run(
            [program, *arguments],
            cwd=folder or None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except OSError as error:
        why = error.strerror or str(error)
        raise ConversionError(
            f"the interpreter with NVIDIA's converter cannot be started: {python}",
            why,
            f"fix convert.nvidia_python, or {_OWN}",
        ) from None
    except subprocess.TimeoutExpired:
        raise ConversionError(
            f"{python} did not end within {seconds} s", "NVIDIA's converter hangs", f"run it by hand, or {_OWN}"
        ) from None


def _absent(python: str, said: str) -> ConversionError:
    return ConversionError(
        f"NVIDIA's converter is not in {python}: {said}",
        "the wheels uff and graphsurgeon are on no package index any more, and run on no current Python",
        f"name an interpreter that still has both (convert.nvidia_python), or {_OWN}",
    )


def _failure(python: str, done: subprocess.CompletedProcess[str]) -> ConversionError:
    tail = "\n".join((done.stdout + "\n" + done.stderr).strip().splitlines()[-_TAIL:])
    said = _last(done.stderr) or _last(done.stdout) or f"it ended with {done.returncode}, and wrote no UFF file"
    missing = any(f"No module named {quote}{name}" in said for name in ("uff", "graphsurgeon") for quote in ("'", ""))
    if done.returncode == _NOT_IMPORTABLE and missing:
        return _absent(python, said)
    known = match(done.stderr) or match(tail)
    if known:
        return ConversionError(f"NVIDIA's converter failed: {said}", known[0].cause, known[0].remedy)
    return ConversionError(f"NVIDIA's converter failed: {said}", f"the end of its output:\n{tail}", _OWN)


def _last(text: str) -> str:
    """The line that says what went wrong: that of the exception, where there is one."""
    lines = text.strip().splitlines() or [""]
    return next((line for line in reversed(lines) if _EXCEPTION.match(line)), lines[-1]).strip()


def _refuse_left_over(uff: Uff) -> None:
    """What the converter does not know it passes on as a plugin, which a board would fail at."""
    for node in uff.nodes:
        if node.operation.startswith("_") and not node.operation.endswith("_TRT"):
            known = match(f"Unsupported operation {node.operation}") or [entry("custom-operation")]
            raise ConversionError(
                f"NVIDIA's converter left {node.operation[1:]} {node.id!r} to a plugin that does not exist",
                known[0].cause,
                _OWN,
            )
