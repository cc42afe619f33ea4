"""A refusal by the gate, and nothing to do, as states of Prefect's: a flow that ends so did its work.

Both are of the type Completed, as a decision is no failure of what decides: there is no traceback, and nothing is
retried.
"""

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed

from jetlane.specs.errors import GateError

#: The states' names, and so of their events: ``prefect.flow-run.Refused``.
REFUSED, UNCHANGED = "Refused", "Unchanged"
_KEY = "refused"


def refused(error: GateError) -> State[Any]:
    """For a flow to return."""
    told = {"what": error.what, "why": error.why, "remedy": error.remedy}
    return Completed(name=REFUSED, message=f"{error.what}: {error.why}", data={_KEY: told})


def unchanged(message: str, outcome: Any = None) -> State[Any]:
    """For a flow to return that had nothing to do."""
    return Completed(name=UNCHANGED, message=message, data=outcome)


def outcome_or_refusal(outcome: dict[str, Any]) -> dict[str, Any]:
    """What a flow returned.

    Raises:
        GateError: It ended in a refusal.
    """
    if _KEY in outcome:
        raise GateError(**outcome[_KEY])
    return outcome
