"""The whole agent on the Pythons of JetPack 4 to 7: received over a real sshd, built and run in onnxruntime."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jetlane.remote.device import collection
from jetlane.remote.device.client import open_agent, probe, status
from jetlane.remote.device.delivery import deliver, rollback
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.protocol.events import WholeFrame

pytestmark = pytest.mark.sshd

_RUN = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1] + "/current")
from jetlane_runtime import Detector
with Detector(sys.argv[1], collect=True, mask=lambda frame: frame[::-1]) as detector:
    found = detector.detect(np.load(sys.argv[2]))
print(json.dumps([values.tolist() for values in found]))
"""


def collected(device: Device) -> WholeFrame:
    """The frame that the program kept; it is removed there."""
    came: list[WholeFrame] = []
    with open_agent(device) as agent:
        kept = collection.kept(agent)
        collection.fetch(agent, kept.frames, came.append)
        assert kept.on and collection.remove(agent, kept.frames) == len(kept.frames) == 1
        assert collection.kept(agent).frames == ()
    return came[0]


#: The others are no JetPack's default, but may be what an inventory names.
_VERSIONS = ["3.6", "3.8", "3.10", "3.12"] + [
    pytest.param(version, marks=pytest.mark.slow) for version in ("3.7", "3.9", "3.11", "3.13")
]


@pytest.mark.parametrize("version", _VERSIONS)
def test_a_release_is_delivered_and_runs(
    sshd: Any, board_python: Callable[[str], str], release: Path, make_release: Any, tmp_path: Path, version: str
) -> None:
    python = board_python(version)
    device = replace(load_inventory(sshd.inventory).devices[0], python=python)
    facts = probe(device)
    assert facts["python"].startswith(f"{version}.") and facts["onnxruntime"] and facts["tensorrt"] is None

    report = deliver(release, device)
    assert report.state == "active" and report.backend == "cpu"
    assert report.agreement["agreed"] and report.agreement["matched"] > 0
    assert report.agreement["lowest_iou"] > 0.9999 and report.agreement["largest_score_difference"] < 1e-5
    assert deliver(release, device).state == "unchanged"

    root = Path(device.root)
    (root / "config.json").write_text('{"collect": {"score_band": [0.0, 1.0]}}')
    done = subprocess.run(
        [python, "-I", "-c", _RUN, root, release / "samples" / "000.npy"], capture_output=True, text=True, env={}
    )
    assert done.returncode == 0, done.stderr
    expected = json.loads((release / "expected.json").read_text())["samples"][0]
    boxes, labels, scores = json.loads(done.stdout)
    assert labels == expected["labels"] and labels
    np.testing.assert_allclose(boxes, expected["boxes"], atol=1e-6)
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-6)
    came = collected(device)
    assert [each.name for each in came.said.found] == [("circle", "square", "triangle")[label - 1] for label in labels]
    turned = np.asarray(Image.open(io.BytesIO(came.content)))[::-1]
    assert np.array_equal(turned, np.load(release / "samples" / "000.npy"))

    assert deliver(make_release(tmp_path / "other", seed=1), device).previous == release.name
    assert rollback(device)["release"] == release.name
    assert status(device)["current"] == release.name
