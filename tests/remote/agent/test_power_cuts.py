"""Power cuts and kills are the normal case: every file of a board's state is emptied, every agent killed at random."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.device.client import open_agent, status
from jetlane.remote.device.delivery import deliver, rollback
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.release.signing import project_key
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import DeviceError
from jetlane.specs.support.background import BackgroundThread
from jetlane.tasks.run.serials import Serials
from jetlane.tasks.run.workspace import Workspace

CONFIG = '{"quota": 1000000000}'


@dataclass(frozen=True)
class Jetson:
    """A virtual Jetson, and its agent's folder."""

    board: virtual.VirtualFleet
    device: Device
    root: Path


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory, make_release: Any) -> tuple[Path, ...]:
    """Three releases, signed, with rising serials."""
    folder = tmp_path_factory.mktemp("releases")
    key = project_key(folder / "workspace")
    serials = Serials(Workspace(folder / "workspace"), "small")
    return tuple(make_release(folder, seed=seed, signing_key=key, serials=serials) for seed in range(3))


@pytest.fixture(scope="module")
def other(releases: tuple[Path, ...]) -> Path:
    """The release that the board ran before."""
    return releases[0]


@pytest.fixture(scope="module")
def release(releases: tuple[Path, ...]) -> Path:
    """The release that the board runs."""
    return releases[1]


@pytest.fixture(scope="module")
def third(releases: tuple[Path, ...]) -> Path:
    """A release that the board never saw."""
    return releases[2]


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory, release: Path, other: Path) -> Iterator[tuple[Jetson, Path]]:
    """A virtual Jetson with a key enrolled that had two releases; and a copy of its folder as it was then."""
    board = virtual.start(tmp_path_factory.mktemp("lived-in") / "board")
    device = load_inventory(board.inventory).devices[0]
    root = board.devices[0].home / "jetlane"
    root.mkdir(parents=True)
    (root / "config.json").write_text(CONFIG)
    public = project_key(release.parent / "workspace").public.hex()
    with open_agent(device) as agent:
        agent.call("keys", {"action": "install", "public": public})
    deliver(other, device)
    deliver(release, device)
    copy = tmp_path_factory.mktemp("copy") / "root"
    shutil.copytree(root, copy, symlinks=True)
    yield Jetson(board, device, root), copy
    virtual.stop(board.folder)


@pytest.fixture
def jetson(lived_in: tuple[Jetson, Path]) -> Jetson:
    """That virtual Jetson, with all as it was."""
    return restored(*lived_in)


def slow(*values: str) -> list[Any]:
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


#: Files of a board's state, as patterns below the agent's folder; {live} and {kept} are the releases' ids.
FILES = [
    "state.json",
    "config.json",
    "serials.json",
    "keys.json",
    "engines/*/engine",
    "engines/*/engine.json",
    "build/*",
    "releases/{live}/manifest.json",
    "releases/{live}/manifest.sig",
    "releases/{live}/model.onnx",
    "releases/{kept}/manifest.json",
    "agent-*.pyz",
    *slow(
        "keys.copy.json",
        "reports/*.json",
        "releases/{live}/expected.json",
        "releases/{live}/samples/000.npy",
        "releases/{kept}/labels.txt",
    ),
]


@pytest.mark.parametrize("pattern", FILES)
def test_a_file_cut_to_nothing_is_noticed_and_healed(jetson: Jetson, release: Path, other: Path, pattern: str) -> None:
    damaged = sorted(jetson.root.glob(pattern.format(live=release.name, kept=other.name)))
    assert damaged, "the board has such a file"
    for path in damaged:
        path.chmod(0o600)
        path.write_bytes(b"")
    assert status(jetson.device)["current"] == release.name, "what runs goes on running, and it can be asked"
    check_healed(jetson, release, other)
    if "{kept}" in pattern or "engines" in pattern:
        assert deliver(other, jetson.device).state == "active", "the kept release too is brought back to what it was"
        assert status(jetson.device)["releases"][other.name] is None
        assert rollback(jetson.device)["release"] == release.name


@pytest.mark.parametrize("damage", ["removed", "dangling"])
@pytest.mark.parametrize("link", ["current", "previous"])
def test_a_lost_link_is_made_again(jetson: Jetson, release: Path, other: Path, link: str, damage: str) -> None:
    (jetson.root / link).unlink()
    if damage == "dangling":
        (jetson.root / link).symlink_to("releases/small-000000000000")
    status(jetson.device)
    check_healed(jetson, release, other)


GONE = ["releases", "releases/{live}/samples", *slow("engines", "build", "reports", "logs")]


@pytest.mark.parametrize("half", GONE)
def test_a_folder_that_is_gone_is_brought_again(jetson: Jetson, release: Path, other: Path, half: str) -> None:
    shutil.rmtree(jetson.root / half.format(live=release.name))
    status(jetson.device)
    assert deliver(release, jetson.device).agreement["agreed"]
    found = status(jetson.device)
    assert found["current"] == release.name and found["releases"][release.name] is None
    assert deliver(release, jetson.device).state == "unchanged"


def restored(jetson: Jetson, copy: Path) -> Jetson:
    shutil.rmtree(jetson.root)
    shutil.copytree(copy, jetson.root, symlinks=True)
    return jetson


def check_healed(jetson: Jetson, release: Path, other: Path) -> None:
    """The next delivery goes through, the board's owner is not forgotten, and the way back is there."""
    assert deliver(release, jetson.device).agreement["agreed"]
    found = status(jetson.device)
    assert (found["current"], found["previous"]) == (release.name, other.name)
    assert found["releases"][release.name] is None and found["unconfirmed"] is None
    assert found["signed"][release.name], "the board's key is not forgotten"
    assert (jetson.root / "config.json").read_text() == CONFIG


# Kills


def agents(board: virtual.VirtualFleet, but: tuple[str, ...] = ()) -> list[int]:
    """Processes of the board's agent, except those that run one of some commands."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            marked = f"{virtual.MARK}={board.folder}".encode() in (entry / "environ").read_bytes().split(b"\0")
            if marked and any(word.endswith(".pyz") for word in words) and not set(but) & set(words):
                found.append(int(entry.name))
    return found


class Killer(BackgroundThread):
    """Kills a board's agents at some moment, once there are any."""

    def __init__(self, board: virtual.VirtualFleet, moment: float, but: tuple[str, ...]) -> None:
        self._arguments = (board, moment, but)
        super().__init__("killer")

    def run_until_ended(self) -> None:
        board, moment, but = self._arguments
        killed = self.ended.wait(moment)
        while not killed and not self.ended.is_set():
            for pid in agents(board, but):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed = True


def builds(root: Path) -> int:
    logs = [root / "build" / "log.txt", *root.glob("logs/*-build.txt")]
    return sum(path.read_text().count("optimising the graph") for path in logs if path.is_file())


def settled(probe: Callable[[], Any]) -> Any:
    """What a probe gives once nothing is being built."""
    deadline = time.monotonic() + 30
    while True:
        found = probe()
        if found["building"] is None or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


#: Moments to kill at; each test has its own.
at_any_moment = pytest.mark.parametrize(
    "seed", [1, 2, 3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 21))]
)
ITS_BUILD = ("build-job", "build-work")


@pytest.fixture
def killer(seed: int, jetson: Jetson, duration: float, request: pytest.FixtureRequest) -> Callable[..., Killer]:
    """Makes what kills the board's agents within the time that a delivery takes, but those of some commands."""
    moment = random.Random(f"{request.function.__name__} {seed}").uniform(0.0, duration)
    return lambda *but: Killer(jetson.board, moment, but)


@pytest.fixture(scope="module")
def duration(lived_in: tuple[Jetson, Path], third: Path) -> float:
    """Seconds that its delivery takes here, with a build and all."""
    jetson = restored(*lived_in)
    begin = time.monotonic()
    deliver(third, jetson.device)
    return time.monotonic() - begin


def assert_whole_and_live(found: dict[str, Any], releases: set[Path]) -> None:
    """Which of these the board runs is left open, and that its files are whole is not."""
    assert found["current"] in {release.name for release in releases}
    assert found["releases"][found["current"]] is None


def assert_third_is_live(device: Device, release: Path, third: Path) -> None:
    """Delivered once more, the third release is live, after the first."""
    assert deliver(third, device).agreement["agreed"]
    found = status(device)
    assert (found["current"], found["previous"], found["unconfirmed"]) == (third.name, release.name, None)


@at_any_moment
def test_an_agent_killed_at_any_moment_costs_no_second_build(
    jetson: Jetson, release: Path, third: Path, killer: Callable[..., Killer]
) -> None:
    """The agent that a delivery talks to is killed; the build, which is the board's own, is left alone."""
    before = builds(jetson.root)
    with killer(*ITS_BUILD):
        try:
            ended = deliver(third, jetson.device).state
        except DeviceError:
            ended = ""
    assert_whole_and_live(status(jetson.device), {third} if ended else {release, third})
    assert_third_is_live(jetson.device, release, third)
    assert builds(jetson.root) - before == 1


@at_any_moment
def test_everything_killed_at_any_moment_leaves_a_board_that_recovers(
    jetson: Jetson, release: Path, third: Path, killer: Callable[..., Killer]
) -> None:
    """All of the agent is killed at once, its build too, as when the power goes."""
    before = builds(jetson.root)
    with killer(), suppress(DeviceError):
        deliver(third, jetson.device)
    assert_whole_and_live(settled(lambda: status(jetson.device)), {release, third})
    assert_third_is_live(jetson.device, release, third)
    assert builds(jetson.root) - before <= 2, "one, and one that was begun again"


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory, make_release: Any, releases: tuple[Path, ...]) -> Path:
    """A release whose engine does not find what is expected; newer than all."""
    folder = tmp_path_factory.mktemp("wrong")
    key = project_key(releases[0].parent / "workspace")
    serials = Serials(Workspace(releases[0].parent / "workspace"), "small")
    return Path(make_release(folder, seed=7, wrong=0.2, signing_key=key, serials=serials))


@at_any_moment
def test_an_agent_killed_while_it_sets_an_engine_aside_never_makes_it_live(
    jetson: Jetson, release: Path, wrong: Path, killer: Callable[..., Killer]
) -> None:
    with killer(*ITS_BUILD), pytest.raises(DeviceError):
        deliver(wrong, jetson.device)
    before = builds(jetson.root)
    for _ in range(2):  # the second at the latest knows what became of the engine
        with pytest.raises(DeviceError) as failure:
            deliver(wrong, jetson.device)
        assert getattr(failure.value, "kind", "") == "disagreement"
    found = status(jetson.device)
    assert found["current"] == release.name and found["releases"][release.name] is None
    assert wrong.name not in found["verified"] and len(found["engines"]) == 2, "those of the two good releases"
    assert builds(jetson.root) > before and len(list((jetson.root / "aside").iterdir())) == 1
