"""What stopped or misled people in their first hour, a test for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.flows.test_prefect_command import command

from jetlane.flows.cli.main import cli
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.support.text import counted

SHAPES = "name: shapes\ndataset: {shapes: {}}\n"


def test_a_new_key_is_told_before_it_is_made(tmp_path: Path) -> None:
    first = command("jetlane", "key", "show", cwd=tmp_path)
    assert f"there is no key in {tmp_path / '.jetlane'} yet: a new one is made" in first.stderr
    second = command("jetlane", "key", "show", cwd=tmp_path)
    assert second.stderr == "" and second.stdout == first.stdout


def test_a_spec_names_device_workspace_and_key(tmp_path: Path) -> None:
    """Enrolling by a spec installs the key of the spec's workspace, and no other is made."""
    elsewhere = tmp_path / "elsewhere"
    virtual.start(elsewhere / "virtual", ("virtual-jetson-1",))
    try:
        (tmp_path / "spec.yaml").write_text(SHAPES + "fleet: {virtual: 1}\nworkspace: elsewhere\n")
        words = ("device", "enroll", "virtual-jetson-1", "--spec", "spec.yaml", "--yes")
        done = command("jetlane", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (elsewhere / "keys" / "signing_key").is_file() and not (tmp_path / ".jetlane").exists()
        shown = command("jetlane", "key", "show", "--workspace", "elsewhere", cwd=tmp_path).stdout.split()[0]
        assert f"takes the releases signed by {shown}" in done.stdout
        inventory = str(elsewhere / "virtual" / "inventory.yaml")
        keys = command("jetlane", "device", "keys", "virtual-jetson-1", "--inventory", inventory, cwd=tmp_path)
        assert shown in keys.stdout, keys.stderr
        for spelling in ("--to", "--inventory"):
            back = command("jetlane", "rollback", spelling, inventory, "--workspace", "elsewhere", cwd=tmp_path)
            assert "No such option" not in back.stderr and "nothing to roll back" in back.stdout + back.stderr
    finally:
        virtual.stop(elsewhere / "virtual")


def test_a_name_that_no_release_can_have_is_made_one(tmp_path: Path) -> None:
    words = ("deploy", "none.pb", "none.config", "--name", "My Bottles", "--to", "none.yaml")
    done = command("jetlane", *words, cwd=tmp_path)
    assert "the release is named my-bottles" in done.stdout and "no such file" in done.stderr, done.stderr
    assert "pattern" not in done.stderr


@pytest.mark.prefect
def test_without_a_server_the_literal_command_says_how_to_start_one(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SHAPES)
    (tmp_path / "prefect.toml").write_text("[plugins]\nenabled = true\n")
    words = ("prefect", "deployment", "run", "retrain-and-deploy", "--params", "spec.yaml")
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "no Prefect server of this folder runs\nwhat to do: start one: jetlane up\n"


def test_what_runs_here_is_told_where_nothing_does(tmp_path: Path) -> None:
    done = command("jetlane", "status", cwd=tmp_path)
    assert done.returncode == 0 and not list(tmp_path.iterdir()), "to look makes nothing"
    for words in ("does not run: jetlane up", "none: jetlane schedule SPEC", "none: jetlane run SPEC"):
        assert words in done.stdout


def test_one_is_no_plural() -> None:
    assert [counted(number, "device") for number in (0, 1, 2)] == ["0 devices", "1 device", "2 devices"]


def test_no_option_is_declared_twice() -> None:
    """Newer versions of click warn at every call."""

    def commands(group: click.Group, context: click.Context) -> Iterator[click.Command]:
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            assert found is not None
            yield found
            if isinstance(found, click.Group):
                yield from commands(found, context)

    for one in commands(cli, click.Context(cli)):
        spelled = [spelling for parameter in one.params for spelling in (*parameter.opts, *parameter.secondary_opts)]
        assert len(spelled) == len(set(spelled)), (one.name, spelled)
