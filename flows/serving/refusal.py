"""A refusal by the gate as a state of Prefect's: "Refused", with the reasons as its message, and no traceback."""

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Failed

from jetlane.specs.errors import GateError

#: The state's name, and so of its event: ``prefect.flow-run.Refused``.
REFUSED = "Refused"


def refused(error: GateError) -> State[Any]:
    """For a flow to return. Whoever called it gets the error raised, as from any failed flow."""
    return Failed(name=REFUSED, message=f"{error.what}: {error.why}", data=error)
