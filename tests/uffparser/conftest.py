"""NVIDIA's own UFF parsers, when asked for: ``make uffparser`` sets JETLANE_UFFPARSER to their versions."""

from __future__ import annotations

import os
import platform
import shutil

import pytest
from tests.uffparser.parsing import prepare

ASKED = [version for version in os.environ.get("JETLANE_UFFPARSER", "").split(",") if version]
NEEDED = ("java", "javac", "mvn", "gcc", "unzip", "nm", "readelf", "flock")

collect_ignore_glob = [] if ASKED else ["test_*.py"]


@pytest.fixture(scope="session", params=ASKED)
def version(request: pytest.FixtureRequest) -> str:
    """A version of TensorRT whose parser runs here; its libraries are downloaded once."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("NVIDIA's libraries for this are for Linux on x86_64")
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if missing:
        pytest.skip(
            f"NVIDIA's UFF parser needs {', '.join(missing)}: install a JDK from 17 on, Maven, gcc and binutils"
        )
    said = prepare(request.param)
    if said:
        pytest.skip(f"NVIDIA's UFF parser of TensorRT {request.param} cannot be had: {said}")
    return str(request.param)
