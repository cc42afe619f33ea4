"""One site's part of a rollout, done by a worker of the site's pool, next to the devices.

``jetlane.flows.fleet.dispatch`` makes its deployments and runs; it is not started by hand. JETLANE_TASK_RUNNER in the
environment of the worker, or of the pool's jobs, says where the devices are worked on: ``threads`` of the run (unless
it is set; for SSH the fastest), ``dask`` or ``ray``. Dask's and Ray's own settings name the cluster
(DASK_SCHEDULER_ADDRESS, RAY_ADDRESS); without one, they start their processes on the worker's machine.
"""

import os
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, cast

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner

from jetlane.flows.fleet.task_runs import MAX_WORKERS, thread_task_runner
from jetlane.specs.errors import SpecError

if TYPE_CHECKING:
    from jetlane.remote.release.folder import Release

RUNNER = "JETLANE_TASK_RUNNER"
#: Where a site's machine keeps the releases it fetched.
FOLDER = Path("~/.jetlane/site")
#: Processes of a Dask cluster that a run starts for itself.
_PROCESSES = 2


def task_runner() -> TaskRunner[PrefectFuture[Any]]:
    """What JETLANE_TASK_RUNNER names.

    Raises:
        SpecError: It names nothing that is known.
        ImportError: prefect-dask or prefect-ray is not installed.
    """
    name = os.environ.get(RUNNER, "threads")
    if name == "dask":
        import dask.config
        from prefect_dask import DaskTaskRunner

        address = dask.config.get("scheduler-address", None)
        # a device is waiting, not computing: Dask's own choice is a thread for each core
        here = {"n_workers": _PROCESSES, "threads_per_worker": MAX_WORKERS // _PROCESSES, "dashboard_address": None}
        made = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=here)
        return cast("TaskRunner[PrefectFuture[Any]]", made)
    if name == "ray":
        from prefect_ray import RayTaskRunner

        return cast("TaskRunner[PrefectFuture[Any]]", RayTaskRunner())
    if name != "threads":
        raise SpecError(f"{RUNNER} is {name!r}", "", "set it to threads, dask or ray, or leave it unset")
    return thread_task_runner()


@lru_cache(maxsize=1)
def fetched(store: str, job: str, release: str, folder: str, digest: str) -> "Release":
    """The release of a job, which is fetched and hashed once in each process that works on its devices."""
    from jetlane.remote.release.shared_store import SharedStore

    return SharedStore(store).fetch(release, Path(folder), digest or None)


@task(name="site-device", task_run_name="{device}", cache_policy=NO_CACHE, persist_result=False)
def site_device(device: str, store: str, job: dict[str, Any], folder: str) -> Any:
    """One device: its outcome goes into the store. Runs wherever the task runner has it run."""
    from jetlane.remote.fleet import sites
    from jetlane.remote.fleet.device_operations import NullReporter
    from jetlane.remote.release.shared_store import SharedStore

    order, shared = sites.SiteJob.from_json({**job, "devices": [device]}), SharedStore(store)
    with tempfile.TemporaryDirectory() as laid_out:
        (board,) = sites.unpack(order, Path(laid_out))
        delivers = order.operation == sites.DELIVER
        release = fetched(store, order.id, order.release, folder, order.digest) if delivers else None
        outcome = sites.run_on_device(order, board, release, NullReporter())
    shared.write(f"jobs/{order.id}/{device}", outcome)
    error = outcome.get("error")
    if error:  # the rollout gets it from the store; here it is shown without a traceback
        return Failed(message=str(error["what"]))
    return Completed(message="done")


@flow(name="fleet-site", task_runner=task_runner())
def fleet_site(store: str, job: dict[str, Any], folder: Optional[str] = None) -> None:
    """Carry out a job that a rollout dispatched (``jetlane.remote.fleet.sites.SiteJob``).

    Args:
        store: URL of the shared store.
        folder: Where releases are kept on this machine.
    """
    place = Path(folder or FOLDER).expanduser()
    get_run_logger().info("%s on %d devices", job["operation"], len(job["devices"]))
    if job["operation"] == "deliver":
        fetched(store, job["id"], job["release"], str(place), job.get("digest") or "")  # before all devices need it
    for _ in _windowed(job["devices"], int(job["concurrency"]), store, job, str(place)):
        pass


def _windowed(names: Iterable[str], most: int, *arguments: Any) -> Iterable[PrefectFuture[Any]]:
    """A task run per device, so many at once; each as it ends."""
    waiting, running = list(names), set[PrefectFuture[Any]]()
    while waiting or running:
        while waiting and len(running) < most:
            running.add(site_device.submit(waiting.pop(0), *arguments))
        done = next(iter(as_completed(list(running))))
        running.discard(done)
        yield done
