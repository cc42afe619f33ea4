"""A release whose UFF a version of TensorRT is known to misread goes to no board with that version."""

from __future__ import annotations

from typing import Any

import pytest

from jetlane.remote.agent.errors import AgentError
from jetlane.remote.device.uff_versions import choose_backend

MANIFEST: dict[str, Any] = {
    "backends": {"uff": "model.uff", "onnx": "model.trt.onnx"},
    "uff_not_on": [
        {"from": "5.0", "below": "6.0", "patterns": ["LeakyRelu"]},
        {"from": "7.1", "below": "7.2", "patterns": ["Softmax"]},
    ],
}


def board(version: str, uff: bool = True) -> dict[str, Any]:
    return {"numpy": "1.19", "python": "3.6.9", "tensorrt": {"version": version, "uff": uff, "onnx": True}}


@pytest.mark.parametrize(
    ("version", "pattern"), [("5.0.6", "LeakyRelu"), ("5.1.6.1", "LeakyRelu"), ("7.1.3", "Softmax")]
)
def test_a_board_of_such_a_version_is_refused_before_anything_is_sent(version: str, pattern: str) -> None:
    with pytest.raises(AgentError) as refused:
        choose_backend(board(version), MANIFEST, {})
    assert refused.value.kind == "backend" and version in refused.value.what and pattern in refused.value.why


@pytest.mark.parametrize("version", ["6.0.1", "7.0.0", "7.2", "8.6.1", "8.2.1.8"])
def test_boards_of_other_versions_take_the_uff(version: str) -> None:
    assert choose_backend(board(version), MANIFEST, {}) == "uff"


def test_a_board_without_a_uff_parser_takes_the_onnx() -> None:
    assert choose_backend(board("5.1", uff=False), MANIFEST, {}) == "onnx"


def test_releases_of_earlier_versions_say_nothing_of_it() -> None:
    assert choose_backend(board("5.1"), {"backends": MANIFEST["backends"]}, {}) == "uff"
