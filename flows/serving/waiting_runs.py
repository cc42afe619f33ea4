"""Of several runs of one schedule that wait, one is enough: the one that begins takes in what all of them are for."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any, cast

_log = logging.getLogger(__name__)


def take_over_waiting() -> None:
    """Cancel the runs that wait for the current flow run to end: it has yet to look at the data that they are for.

    They are those of its deployment, for the same parameters, that were to begin before now. What is asked for from now
    on is another run. A server that does not answer costs nothing: the waiting runs find nothing to do.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.runtime import deployment, flow_run
    from prefect.states import Cancelled

    if not deployment.id:
        return
    asked = filters.FlowRunFilter(
        deployment_id=filters.FlowRunFilterDeploymentId(any_=[deployment.id]),
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=cast("Any", datetime.now(timezone.utc))),
    )
    try:
        with get_client(sync_client=True) as client:
            for run in client.read_flow_runs(flow_run_filter=asked):
                if run.parameters == flow_run.parameters:
                    message = f"the run {flow_run.name}, which began later than this was asked for, takes its place"
                    client.set_flow_run_state(run.id, Cancelled(message=message))
    except Exception as error:
        _log.warning("runs that wait are not taken over: %s", error)
