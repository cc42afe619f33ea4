"""Jobs of a rollout as deployment runs on the work pools of sites; see ``jetlane.remote.fleet.sites``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional

from jetlane.remote.agent.manifest import short
from jetlane.remote.fleet.sites import SiteJob, time_limit
from jetlane.specs.errors import DeviceError, JetlaneError

if TYPE_CHECKING:
    from jetlane.remote.release.shared_store import SharedStore

#: Seconds within which a worker of the pool must have begun a run.
PATIENCE = 180.0
_POLL = 1.0


def known_server() -> Optional[type[PrefectSites]]:
    """``PrefectSites`` where PREFECT_API_URL names a Prefect server, or `jetlane up` started one in this folder."""
    from jetlane.flows.serving.up_state import local_server

    os.environ.update(local_server(os.environ.get("PREFECT_API_URL")))
    return PrefectSites if os.environ.get("PREFECT_API_URL") else None


class NoWorker(DeviceError):
    """Nobody at the site took the job; its devices count as not reached."""

    kind = "unreachable"


class PrefectSites:
    """A ``Dispatch``: each job is a run of the deployment ``fleet-site/<pool>``, which is made when it is missing.

    Args:
        store: Where the results come.
        patience: Seconds to wait for a worker.
    """

    def __init__(self, store: SharedStore, patience: float = PATIENCE) -> None:
        self._store, self._patience = store, patience
        self._made: set[str] = set()

    def run(self, pool: str, job: SiteJob, given_up: Callable[[], bool]) -> Mapping[str, Mapping[str, Any]]:
        """See ``Dispatch``.

        Raises:
            NoWorker: No worker of the pool began it.
            JetlaneError: Prefect's server knows no such pool.
        """
        from prefect.deployments import run_deployment

        self._make_deployment(pool)
        run: Any = run_deployment(
            f"fleet-site/{pool}",
            parameters={"store": self._store.url, "job": job.to_json()},
            flow_run_name=f"{job.operation} {short(job.release)} on {len(job.devices)} devices".replace("  ", " "),
            timeout=0,
            as_subflow=False,
        )
        self._follow(pool, run.id, time_limit(job), given_up)
        outcomes = {name: self._store.read(f"jobs/{job.id}/{name}") for name in job.devices}
        self._store.forget(f"jobs/{job.id}")
        return {name: outcome for name, outcome in outcomes.items() if outcome is not None}

    def _follow(self, pool: str, run: Any, limit: float, given_up: Callable[[], bool]) -> None:
        """Return when the run has ended, however it did; one that takes longer than its devices may is cancelled."""
        from prefect.client.orchestration import get_client

        begun = time.monotonic()
        cancelled = False
        with get_client(sync_client=True) as client:
            while True:
                state = client.read_flow_run(run).state
                if state is not None and state.is_final():
                    return
                waits = state is None or state.is_scheduled() or state.is_pending()
                late = waits and time.monotonic() > begun + self._patience
                endless = time.monotonic() > begun + self._patience + limit
                if (late or endless or given_up()) and not cancelled:
                    cancelled = _cancel(client, run)
                if endless:
                    return  # what became of its devices is in the store, or not known
                if late:
                    raise NoWorker(
                        f"no worker of the work pool {pool} began its part within {self._patience:.0f} s",
                        "the run was cancelled",
                        f"start one at the site: prefect worker start --pool {pool}",
                    )
                time.sleep(_POLL)

    def _make_deployment(self, pool: str) -> None:
        """Doing it twice is doing it once."""
        from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
        from prefect.types.entrypoint import EntrypointType

        from jetlane.flows.fleet_site import fleet_site

        if pool in self._made:
            return
        made: Any = fleet_site.to_deployment(name=pool, work_pool_name=pool, entrypoint_type=EntrypointType.MODULE_PATH)
        try:
            made.apply()
        except (ObjectNotFound, PrefectHTTPStatusError, ValueError) as error:
            raise JetlaneError(
                f"the work pool {pool} cannot be used",
                str(error),
                f"make it: prefect work-pool create {pool} --type process",
            ) from error
        self._made.add(pool)


def _cancel(client: Any, run: Any) -> bool:
    from prefect.states import Cancelling

    client.set_flow_run_state(run, Cancelling())
    return True
