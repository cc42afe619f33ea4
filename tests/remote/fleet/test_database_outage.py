"""PostgreSQL goes away in the middle of a rollout, and comes back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.remote.fleet.postgres import Postgres, binaries

from jetlane.flows.cli.commands.fleet import fleet
from jetlane.remote.fleet import ledger_check, ledger_export
from jetlane.remote.fleet.creation import Request, create_or_resume
from jetlane.remote.fleet.leases import Holder
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.ledger_errors import LedgerError
from jetlane.remote.fleet.rollout import Rollout
from jetlane.specs.schema import Fleet


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Any]:
    """A server of its own: it is stopped."""
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="pip install 'jetlane[postgres]'")
    folder = (Path("/tmp") if os.geteuid() == 0 else tmp_path) / f"jetlane-postgres-gone-{os.getpid()}"
    made = Postgres(folder, programs)
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_database_outage_stops_the_rollout_and_it_resumes(postgres: Any, fakes: Any) -> None:
    """At several moments of it; then check, export and import over PostgreSQL."""
    url = postgres.database()
    for moment in ("d0 ship", "d1 verify", "d2 activate", "d3 after"):
        clock, release = fakes.SteppedClock(), f"new-{moment.replace(' ', '-')}"
        boards = {f"d{number}": fakes.Board() for number in range(4)}
        ledger = Ledger(url, clock.now, Holder(since=0))
        request = Request({name: name for name in boards}, release, Fleet(waves=[1, "100%"]))
        operations = fakes.Operations(boards, release, clock)
        deliver = operations.deliver

        def cut(name: str, reporter: Any, moment: str = moment, deliver: Any = deliver) -> Any:
            def told(event: Any) -> None:
                if f"{name} {event['phase']}" == moment:
                    postgres.stop()
                reporter(event)

            done = deliver(name, told)
            if f"{name} after" == moment:
                postgres.stop()
            return done

        operations.deliver = cut
        with pytest.raises(LedgerError) as caught:
            engine = Rollout(
                ledger, create_or_resume(ledger, request), operations, executor=fakes.Inline(), clock=clock
            )
            engine.run()
        assert "cannot be" in caught.value.what and "run the same command again" in caught.value.remedy
        refused = CliRunner().invoke(fleet, ["status", "--ledger", url])
        assert isinstance(refused.exception, LedgerError)
        postgres.start()
        again = Ledger(url, clock.now)
        rollout = create_or_resume(again, request)
        assert rollout == engine.state.id, "it is the same one"
        operations.deliver = deliver
        state = Rollout(again, rollout, operations, executor=fakes.Inline(), clock=clock).run()
        assert state.outcome == "succeeded" and all(board.builds == [release] for board in boards.values())
        ledger.close()
        again.close()
    assert ledger_check.check(url).whole
    out = postgres.folder / "events.jsonl"
    with out.open("w") as file:
        count = ledger_export.export(url, file).events
    other = postgres.database()
    with out.open() as lines:
        assert ledger_export.restore(lines, "it", other) == count
    one, two = Ledger(url), Ledger(other)
    assert one.events() == two.events() and two.append("r", "started").number == one.events()[-1].number + 1
    one.close()
    two.close()
