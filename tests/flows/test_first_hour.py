"""What stopped or misled people in their first hour, a test for each."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter, ValidationError
from tests.flows.programs import command

from jetlane.flows.cli.main import cli
from jetlane.flows.serving import schedules
from jetlane.flows.serving.run_names import project_in
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import SpecError
from jetlane.specs.load import load_spec
from jetlane.specs.names import is_name, name_from
from jetlane.specs.schema import Name
from jetlane.specs.support.text import counted
from jetlane.tasks.run.run_record import RunRecord

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
            assert "No such option" not in back.stderr and "nothing to roll back" in back.stderr
            assert back.stderr.endswith("what to do: roll out another release to it\n"), back.stderr
        told = command("jetlane", "fleet", "status", "--spec", "spec.yaml", cwd=tmp_path)
        assert "nothing to roll back" in told.stdout and "failed" not in told.stdout, told.stdout + told.stderr
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


def test_how_runs_ended_and_where_one_is_are_told(tmp_path: Path) -> None:
    with RunRecord(tmp_path, "bottles") as ended:
        ended.use("dataset", "aa")
        ended.ended("live")
    with RunRecord(tmp_path, "bottles") as refused:
        refused.use("dataset", "aa")
        refused.ended("refused")
    with RunRecord(tmp_path, "bottles") as cut:
        cut.use("dataset", "aa")
    with RunRecord(tmp_path, "cans") as going_on:
        for step in ("dataset", "train"):
            going_on.use(step, "aa")
        shown = CliRunner().invoke(cli, ["status", "--workspace", str(tmp_path)]).output
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.search(rf"^under way  cans  train, since {when}$", shown, re.M), shown
    ends = re.findall(rf"bottles  {when}(.*)$", shown, re.M)
    assert ends == ["  completed", "  refused", "  live"], "the newest first"


def test_setting_up_says_what_it_does_and_how_the_program_is_called(repository: Path, tmp_path: Path) -> None:
    """As make would do it in a fresh clone; what takes long has a line every ten seconds beside it."""
    words = ["make", "--dry-run", "--always-make", "setup", f"VENV={tmp_path / 'venv'}"]
    planned = subprocess.run(words, cwd=repository, capture_output=True, text=True, timeout=60)
    assert planned.returncode == 0, planned.stderr
    places = [
        planned.stdout.index(text) for text in ("set-up, 1 of 3", "set-up, 2 of 3", "while sleep 10", "set-up, 3 of 3")
    ]
    assert places == sorted(places)
    assert f'export PATH=\\"{tmp_path / "venv" / "bin"}:\\$PATH\\"' in planned.stdout


def test_a_message_about_a_value_is_in_words(tmp_path: Path) -> None:
    """No pattern, no dictionary and no bytes of Python's."""
    wrong = {
        "name: My Bottles\n": "name",
        "name: {a: 1}\n": "name",
        "fleet: {waves: {a: 1}}\n": "fleet.waves",
        "fleet: {soak: many}\n": "fleet.soak",
        "notify: {blocks: [Slack]}\n": "notify.blocks",
        "gate: {min_map: high}\n": "gate.min_map",
        "dataset: {train: 3}\n": "dataset.train",
        "verify: {images: {a: b}}\n": "verify.images",
    }
    for text, key in wrong.items():
        spec = tmp_path / "spec.yaml"
        spec.write_text(text if text.startswith("name") else f"name: a\n{text}")
        with pytest.raises(SpecError) as caught:
            load_spec(spec)
        said = str(caught.value)
        assert key in said and not re.search(r"\^\[|\\w|\{'|b'|regex|pattern|RunSpec|pydantic", said), said


def test_one_is_no_plural() -> None:
    assert [counted(number, "device") for number in (0, 1, 2)] == ["0 devices", "1 device", "2 devices"]


def every_command(group: click.Group = cli) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from every_command(found)
        else:
            yield found


def test_no_option_is_declared_twice() -> None:
    """Newer versions of click warn at every call."""
    for one in every_command():
        spelled = [spelling for parameter in one.params for spelling in (*parameter.opts, *parameter.secondary_opts)]
        assert len(spelled) == len(set(spelled)), (one.name, spelled)


def test_a_workspace_is_named_in_one_way_by_itself_or_by_its_spec() -> None:
    """`deploy` makes a spec of its own, and `schedule add` is given one."""
    for one in every_command():
        names = {parameter.name for parameter in one.params}
        if "workspace" in names and one.name != "deploy":
            assert "spec" in names, one.name


def test_where_nothing_is_yet_a_command_says_where_it_looked_and_what_it_makes(tmp_path: Path) -> None:
    here = tmp_path / ".jetlane"
    assert f"{here}: there is none (--workspace or --spec names another)" in command(
        "jetlane", "status", cwd=tmp_path
    ).stdout.replace("\n", " ")
    (tmp_path / "spec.yaml").write_text(SHAPES + "workspace: elsewhere\n")
    for words in (("fleet", "status"), ("fleet", "history"), ("workspace", "du"), ("status",)):
        done = command("jetlane", *words, "--spec", "spec.yaml", cwd=tmp_path)
        assert str(tmp_path / "elsewhere") in done.stdout + done.stderr, done.stderr
    (tmp_path / "nano.yaml").write_text("devices: {nano: {host: 127.0.0.1, port: 9}}\n")
    said = command("jetlane", "fleet", "probe", "--inventory", "nano.yaml", cwd=tmp_path).stderr
    assert f"there is no workspace {here} yet: it is made" in said


@pytest.mark.parametrize(("text", "valid"), [("a" * 63, True), ("a" * 64, False), ("-a", False), ("0_b-c", True)])
def test_a_projects_name_is_the_same_everywhere(text: str, valid: bool) -> None:
    for take in (TypeAdapter(Name).validate_python, schedules.named):
        try:
            take(text)
            assert valid
        except (ValidationError, SpecError):
            assert not valid
    assert is_name(text) is valid and is_name(name_from(text))


def test_a_scheduled_run_has_the_projects_name(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("name: bottles\n")
    (tmp_path / "damaged.yaml").write_text("name: [\n")
    assert [project_in(tmp_path / name) for name in ("spec.yaml", "damaged.yaml", "gone.yaml")] == [
        "bottles",
        "damaged",
        "gone",
    ]
