"""The Object Detection API's builders, in a process of their own, for tests that ask them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.tasks.odapi.test_architectures import Architecture


class Builders:
    """The Object Detection API's side: ``training_server``."""

    def __init__(self, folder: Path, *, keras: bool = False) -> None:
        program = [sys.executable, str(Path(__file__).with_name("training_server.py")), *["keras"] * keras]
        with open(folder / "api.log", "w") as log:
            self._process = subprocess.Popen(
                program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def ask(self, **request: Path) -> str:
        """Why the API cannot do it; '' where it did."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return str(answer.get("error", ""))

    def exported(self, architecture: Architecture, folder: Path) -> tuple[Path, Path]:
        """(frozen graph, its pipeline.config) of an architecture after two steps, in a folder of its own."""
        config, out = folder / "pipeline.config", folder / "export"
        architecture.pipeline_config(config)
        said = self.ask(config=config, export_config=config, out=out)
        assert not said, said
        return out / "frozen_inference_graph.pb", config

    def close(self) -> None:
        self._process.communicate()
