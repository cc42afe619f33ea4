"""The agent answers TensorRT's log from the catalogue of errors, which travels in its one file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jetlane.remote.release.agent_file import agent_file
from jetlane.specs.catalogue import entry

#: A build that fails as TensorRT makes it fail, in the agent's own command.
_FAIL = """
import sys
sys.path.insert(0, sys.argv[1])
from jetlane_agent import cli
from jetlane_agent.commands import build
from jetlane_agent.errors import AgentError
def fail(store, request):
    raise AgentError("TensorRT's UFF parser does not accept the model", sys.argv[3], "", sys.argv[4])
build.build = fail
sys.exit(cli.main(["--root", sys.argv[2], "build"]))
"""
_LOG = "TensorRT said:\nUffParser: Validator error: Cast: Unsupported operation _Cast\nNetwork must have an output"


def _error(tmp_path: Path, log: str, kind: str) -> dict[str, str]:
    agent = tmp_path / agent_file().name
    agent.write_bytes(agent_file().content)
    command = [sys.executable, "-c", _FAIL, str(agent), str(tmp_path / "root"), log, kind]
    done = subprocess.run(command, input="{}\n", capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_known_message_brings_its_cause_and_remedy(tmp_path: Path) -> None:
    said = _error(tmp_path, _LOG, "build")
    known = entry("cast-left")
    assert said["why"] == f"{known.cause}.\n{_LOG}" and said["remedy"] == known.remedy
    again = _error(tmp_path, said["why"], "build")
    assert again["why"] == said["why"]


@pytest.mark.parametrize(("log", "kind"), [("TensorRT said nothing", "build"), (_LOG, "tampered")])
def test_anything_else_stays_as_it_was(tmp_path: Path, log: str, kind: str) -> None:
    said = _error(tmp_path, log, kind)
    assert (said["why"], said["remedy"], said["kind"]) == (log, "", kind)
