"""Images that are sent to a board are seen by the engine of its live release, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.remote import models

from jetlane.remote.device import detection
from jetlane.remote.device.client import open_agent
from jetlane.remote.device.delivery import deliver
from jetlane.remote.inventory import Device
from jetlane.remote.release.folder import read_release
from jetlane.remote.ssh.connection import AgentFailure

# Each row: a request, what follows it, and the kind of the refusal.
REFUSED = [
    ({"count": -1}, b"", "failed"),
    ({"count": 1001}, b"", "failed"),
    ({"count": True}, b"", "failed"),
    ({"count": 1, "release": "other-" + "0" * 32}, b"", "absent"),
    ({"count": 1}, b"{}\n", "corrupt"),
    ({"count": 1}, b"[]\n", "corrupt"),
    ({"count": 1}, b'{"height": -2, "width": -2}\n', "corrupt"),
    ({"count": 1}, b'{"height": 100000, "width": 100000}\n', "corrupt"),
    ({"count": 1}, b'{"height": 2, "width": 2}\nshort', "cut"),
]


def test_a_board_detects_in_images_that_it_is_sent(device: Device, release: Path) -> None:
    with open_agent(device) as agent:
        with pytest.raises(AgentFailure, match="no release is active") as absent:
            detection.live(agent)
        assert absent.value.kind == "absent"
        deliver(release, device)
        live = detection.live(agent)
        assert (live.release, live.backend, live.precision) == (release.name, "cpu", "fp32")
        assert live.labels == ("circle", "square", "triangle") and live.threshold == pytest.approx(0.3)
        images = models.images()
        assert detection.detect(agent, images, live.release) == read_release(release).expected
        assert detection.detect(agent, images[:1]) == read_release(release).expected[:1]
        for request, payload, kind in REFUSED:
            with pytest.raises(AgentFailure) as refused:
                agent.call("detect", request, payload)
            assert refused.value.kind == kind, request
        assert detection.detect(agent, images[1:2]) == read_release(release).expected[1:2]
