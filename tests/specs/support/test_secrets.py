"""A secret in an address is refused wherever it stands, and its text is in no output."""

from __future__ import annotations

import contextlib
import io
import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jetlane.flows.cli.main import main
from jetlane.flows.plugin.spec_arguments import rewrite
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.inventory import load_inventory
from jetlane.remote.release.shared_store import SharedStore
from jetlane.specs.errors import JetlaneError, SpecError
from jetlane.specs.load import load_spec
from jetlane.specs.schema import Fleet, RunSpec
from jetlane.specs.support.secrets import hide, secret_in

#: A secret goes where the braces are; as it is, or percent-encoded.
FORMS = [
    "postgresql://me:{}@db.example/jetlane",
    "postgresql+psycopg://me:{}@/jetlane?host=/run/postgresql",
    "postgresql://db.example/jetlane?user=me&password={}",
    "postgresql://me@db.example/x?sslpassword={}&sslmode=require",
    "s3://AKIDEXAMPLE:{}@bucket/models",
    "s3://bucket/models?key=AKIDEXAMPLE&secret={}",
    "s3://bucket/models?aws_secret_access_key={}",
    "https://host.example/x?X-Amz-Signature={}",
    "https://me:{}@host.example/models",
    "gs://bucket/x?Token={}",
    "redis://:{}@cache/0",
    "simplecache::s3://AKIDEXAMPLE:{}@bucket",
    "abfs://container@account.example/x;AccountKey={}",
    "s3://bucket/x?p%61ssword={}",
    "https://ghp_{}@code.example/x",
]
#: Addresses without a secret, all of which are taken.
FINE = [
    "postgresql://jetlane@db.example/jetlane",
    "postgresql://me@db.example:5432/x?passfile=/home/me/.pgpass&sslkey=/etc/ssl/me.key&require_auth=scram-sha-256",
    "postgresql://me:@db.example/x",
    "postgresql://[::1]:5432/x",
    "sqlite:////srv/a:b@c.db",
    "sqlite:///fleet.db",
    "s3://bucket/jetlane",
    "file:///srv/key=a/token",
    "http://host.example:8080/package@1.2",
    "gs://bucket/x?tokenizer=4",
    "https://build-server-of-site-2024@code.example/x",
]
CHARACTERS = string.ascii_letters + string.digits + "!$*+,-.:=@^_`{|}~/?#[]()"
SECRETS = st.text(CHARACTERS, min_size=8, max_size=30).filter(lambda text: text.strip("@/:?#[]") == text)


@st.composite
def addresses(draw: st.DrawFn) -> tuple[str, str]:
    """(address, the secret in it)."""
    form, secret = draw(st.sampled_from(FORMS)), draw(SECRETS)
    bare = "=" in form.partition("{}")[0].rpartition("/")[2] or "https://" in form  # there a reserved character ends it
    secret = quote(secret, safe="") if bare or draw(st.booleans()) else secret
    return form.replace("{}", secret), secret


def said(act: Callable[[], object]) -> str:
    """All that a person sees of something that must be refused."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            act()
            raise AssertionError("it was taken")
        except SystemExit as error:
            assert error.code in (1, 2)
        except (JetlaneError, ValueError) as error:
            print(error, repr(error), error.__cause__, file=err)
    return out.getvalue() + err.getvalue()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(made=addresses())
@example(made=("postgresql://me:hush@hush@db/x", "hush"))
def test_an_address_with_a_secret_is_refused_everywhere_and_shown_nowhere(
    made: tuple[str, str], tmp_path: Path
) -> None:
    address, secret = made
    assert secret_in(address) and secret not in hide(address)
    text, inventory = json.dumps(address), tmp_path / "inventory.yaml"
    spec = tmp_path / "spec.yaml"
    for key in ("ledger", "store"):
        spec.write_text(f"name: a\ndataset: {{shapes: {{}}}}\nfleet:\n  {key}: {text}\n")
        shown = said(lambda: main(["spec", "check", str(spec), "--debug"]))
        assert secret not in shown and f"{spec}:4:" in shown and f"fleet.{key}" in shown
        assert "Secret block" in shown
        assert secret not in said(lambda key=key: Fleet.model_validate({key: address}))
    spec.write_text(f"name: a\ndataset: {{shapes: {{}}}}\nactivate:\n  before: [[curl, {text}]]\nsigning_key: {text}\n")
    shown = said(lambda: main(["spec", "check", str(spec)]))
    assert secret not in shown and f"{spec}:4:19" in shown and f"{spec}:5:14" in shown
    spec.write_text(f"name: {text}\ndataset: {{shapes: {{}}}}\n{text}: 1\nfleet: {{ledger: [{text}]}}\n")
    assert secret not in said(lambda: main(["spec", "check", str(spec)]))
    odd = {"name": address, "dataset": {"shapes": {}}, "workspace": {"a": address}}
    assert secret not in said(lambda: RunSpec.model_validate(odd))
    inventory.write_text(f"devices: {{a: {{host: {text}}}}}\n")
    assert secret not in said(lambda: load_inventory(inventory))
    inventory.write_text(f"release: /r\nworkspace: /w\nfleet: {{ledger: {text}}}\n")
    assert secret not in said(lambda: rewrite(["deployment", "run", "fleet-rollout", "--params", str(inventory)]))
    for words in (["status", "--ledger", address], ["ledger", "check", address], ["ledger", "import", "x", address]):
        assert secret not in said(lambda words=words: main(["fleet", *words, "--debug"]))
    assert secret not in said(lambda: SharedStore(address))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    secret=SECRETS, form=st.sampled_from(["postgresql://me:{}@127.0.0.1:1/x", "postgresql://127.0.0.1:1/x?password={}"])
)
@example(secret="with@an@at", form="postgresql://me:{}@127.0.0.1:1/x")
def test_the_environments_address_is_used_and_not_shown(
    secret: str, form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A database that cannot be reached: its driver's words, SQLAlchemy's and the traceback are without it."""
    secret = quote(secret, safe="") if "=" in form else secret
    with monkeypatch.context() as patch:
        patch.setenv("JETLANE_LEDGER", form.replace("{}", secret))
        for words in (["status"], ["ledger", "check"], ["ledger", "export"], ["history", "--debug"]):
            shown = said(lambda words=words: main(["fleet", *words, "--workspace", str(tmp_path)]))
            assert secret not in shown and "ledger" in shown
    refused = said(lambda: Ledger(form.replace("{}", secret)))
    assert secret not in refused


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(made=addresses())
def test_prefect_neither_takes_nor_logs_it(made: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """A flow that is given it fails before its parameters are logged; the server, by the schema, takes no such run."""
    from prefect import flow
    from prefect.utilities.schema_tools.validation import is_valid

    address, secret = made

    @flow
    def shown(fleet: Fleet) -> None: ...

    schema: Any = shown.parameters.model_dump_for_openapi()
    for key in ("ledger", "store"):
        for value in (address, [address], {"a": address}):
            parameters = {"fleet": {key: value}}
            assert secret not in said(lambda parameters=parameters: shown.validate_parameters(parameters))
        if "@" in address and "ghp_" not in address:
            assert not is_valid({"fleet": {key: address}}, schema)
    assert secret not in caplog.text
    assert is_valid({"fleet": {"ledger": FINE[1], "store": FINE[6]}}, schema)


@pytest.mark.parametrize("address", FINE)
def test_an_address_without_a_secret_is_taken(address: str, tmp_path: Path) -> None:
    assert not secret_in(address) and hide(address) == address
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        f"name: a\ndataset: {{shapes: {{}}}}\nfleet: {{ledger: {json.dumps(address)}, store: 's3://b/x'}}\n"
    )
    assert load_spec(spec).fleet.ledger == address


@pytest.mark.parametrize(
    "address",
    [
        "https://{}@code.example/x",
        "https://{}:x-oauth-basic@code.example/x",
        "https://{}:@code.example/x",
        "simplecache::https://{}@code.example/x",
        "postgresql://me%3A{}@db.example/x",
    ],
)
def test_a_secret_may_stand_where_a_users_name_would(address: str) -> None:
    secret = "0a1b2c3d4e5f60718293a4b5"
    given = address.format(secret)
    assert secret_in(given) and secret not in hide(f"no answer of {given}, sorry")


def test_white_space_in_a_password_hides_all_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JETLANE_LEDGER", "postgresql://me:hush hush@127.0.0.1:1/x")
    for debug in ([], ["--debug"]):
        assert "hush" not in said(lambda debug=debug: main(["fleet", "status", "--workspace", str(tmp_path), *debug]))


def test_a_database_named_by_pairs_in_the_environment_is_no_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JETLANE_LEDGER", "host=db user=me password=hush")
    with pytest.raises(SpecError, match="neither a URL nor a file") as caught:
        Ledger.of(tmp_path)
    assert "hush" not in str(caught.value) and not list(tmp_path.iterdir())


def test_pairs_without_a_scheme_are_an_address_too(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("name: a\ndataset: {shapes: {}}\nfleet: {ledger: 'host=db user=me password=hush'}\n")
    with pytest.raises(SpecError, match="a secret") as caught:
        load_spec(spec)
    assert "hush" not in str(caught.value)
