"""Archives of model zoos: fetched once, refused when they are others, and unpacked without following their paths."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jetlane.specs.errors import SpecError, TrainingError
from jetlane.specs.load import spec_from_data
from jetlane.tasks.odapi.zoo_archive import unpack
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.start_point import start_of

ZOO = {
    "ssd_v2/pipeline.config": b"model {}",
    "ssd_v2/model.ckpt.index": b"index",
    "ssd_v2/model.ckpt.data-00000-of-00001": b"data",
    "ssd_v2/frozen_inference_graph.pb": b"graph",
}


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as made:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return path


def test_the_checkpoint_alone_is_unpacked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert unpack(archive(tmp_path / "zoo.tar.gz", ZOO), out) == "model.ckpt"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        "model.ckpt.index": b"index",
        "model.ckpt.data-00000-of-00001": b"data",
    }


def test_a_pruned_checkpoint_brings_its_widths(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    pruned = {**ZOO, "ssd_v2/model.ckpt.widths.json": b"{}"}
    unpack(archive(tmp_path / "zoo.tar.gz", pruned), tmp_path / "out")
    assert (tmp_path / "out" / "model.ckpt.widths.json").read_bytes() == b"{}"
    without_data = {name: data for name, data in pruned.items() if ".data-" not in name}
    with pytest.raises(SpecError, match="no checkpoint"):
        unpack(archive(tmp_path / "cut.tar.gz", without_data), tmp_path / "out")


def test_of_several_checkpoints_the_last(tmp_path: Path) -> None:
    members = {f"x/model.ckpt-{n}{part}": b"%d" % n for n in (9, 200) for part in (".index", ".data-00000-of-00001")}
    members["x/model.ckpt-300.index"] = b"its data is missing"
    out = tmp_path / "out"
    out.mkdir()
    assert unpack(archive(tmp_path / "zoo.tar.gz", members), out) == "model.ckpt-200"


@pytest.mark.parametrize("prefix", ["../../escaped", "/tmp/escaped", "x/..", "x/\x1b[2J", "x/."])
def test_names_lead_nowhere(tmp_path: Path, prefix: str) -> None:
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    members = {prefix + ".index": b"", prefix + ".data-00000-of-00001": b""}
    name = unpack(archive(tmp_path / "zoo.tar.gz", members), out)
    assert (out / f"{name}.index").is_file() and name.isprintable() and not name.startswith(".")
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} == {"deep", "zoo.tar.gz"}


def test_links_are_no_checkpoints(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "zoo.tar", "w") as made:
        for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001"):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            made.addfile(member)
    with pytest.raises(SpecError, match="there is no checkpoint in"):
        unpack(tmp_path / "zoo.tar", tmp_path)


def test_what_is_no_archive(tmp_path: Path) -> None:
    whole = archive(tmp_path / "zoo.tar.gz", {**ZOO, "large": bytes(range(256)) * 4000}).read_bytes()
    for content in (b"no archive", b"", whole[: len(whole) // 2]):
        (tmp_path / "cut.tar.gz").write_bytes(content)
        with pytest.raises(SpecError, match=r"cut\.tar\.gz"):
            unpack(tmp_path / "cut.tar.gz", tmp_path)


class Zoo(SimpleHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        Zoo.asked += 1
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """URL and sha256 of an archive."""
    folder = tmp_path / "served"
    folder.mkdir()
    content = archive(folder / "zoo.tar.gz", ZOO).read_bytes()
    Zoo.asked = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Zoo, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/zoo.tar.gz", hashlib.sha256(content).hexdigest()
    server.shutdown()
    server.server_close()


def start(folder: Path, **asked: str) -> Path:
    data = {"name": "a", "dataset": {"shapes": {}}, "train": {"start_from": asked}, "workspace": str(folder / "ws")}
    with Run(spec_from_data(data, folder)) as run:
        found = start_of(run, "")
        assert found is not None
        return found.prefix


def test_a_url_is_fetched_once(tmp_path: Path, zoo: tuple[str, str]) -> None:
    url, sha256 = zoo
    prefixes = {start(tmp_path, archive=url, sha256=sha256) for _ in range(2)}
    assert len(prefixes) == 1 and Zoo.asked == 1
    (prefix,) = prefixes
    assert sorted(path.name for path in prefix.parent.glob("m*.*")) == [
        *("manifest.json", "model.ckpt.data-00000-of-00001", "model.ckpt.index"),
    ]
    assert start(tmp_path, archive=str(tmp_path / "served" / "zoo.tar.gz")) == prefix  # the same bytes from a file


def test_another_hash_is_refused(tmp_path: Path, zoo: tuple[str, str]) -> None:
    for archive_ in (zoo[0], str(tmp_path / "served" / "zoo.tar.gz")):
        with pytest.raises(TrainingError, match=r"zoo\.tar\.gz is not the archive") as caught:
            start(tmp_path, archive=archive_, sha256="0" * 64)
        assert zoo[1] in caught.value.why
    assert not list((tmp_path / "ws" / "steps").rglob("fetched"))


def test_what_cannot_be_fetched(tmp_path: Path, zoo: tuple[str, str]) -> None:
    for url in (zoo[0] + "x", "http://127.0.0.1:9/zoo.tar.gz"):
        with pytest.raises(TrainingError, match="cannot be fetched") as caught:
            start(tmp_path, archive=url, sha256=zoo[1])
        assert "by hand" in caught.value.remedy
