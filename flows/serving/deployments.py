"""The work pool, the deployments and the limit that ``jetlane up`` makes on a Prefect server.

``prefect.yaml`` in the repository says the same for ``prefect deploy``; a test holds the two together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Optional, cast

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.flows import Flow
from prefect.schedules import Schedule
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.types.entrypoint import EntrypointType

from jetlane.flows.serving.data_events import tell_untold
from jetlane.flows.serving.events import Subject
from jetlane.flows.serving.run_names import project_in
from jetlane.flows.serving.schedules import ON, TAG, WATCH_TAG, RetrainSchedule, ScheduleBook

_log = logging.getLogger(__name__)
POOL = "jetlane"
#: Two trainings never share the machine: a second run waits.
_ONE_WAITS = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
#: Where several runs by the clock pile up, one is enough.
_ONE_ALONE = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


def deployments() -> list[RunnerDeployment]:
    """Each is named as its flow. Flows are named by module, so the code is found wherever a worker was started."""
    import jetlane.specs
    from jetlane.flows.fleet_rollout import fleet_rollout
    from jetlane.flows.retrain_and_deploy import retrain_and_deploy
    from jetlane.flows.rollback import rollback
    from jetlane.flows.scheduled_retrain import scheduled_retrain
    from jetlane.flows.watch_data import watch_data

    example = Path(next(iter(jetlane.specs.__path__))).resolve() / "examples" / "shapes.yaml"
    nightly = Schedule(cron="0 3 * * *", timezone="UTC", slug="nightly", active=False)
    return [
        _deployment(
            retrain_and_deploy,
            description="From a data set to a verified fleet. Parameters are the sections of a spec.",
            concurrency_limit=_ONE_WAITS,
        ),
        _deployment(
            scheduled_retrain,
            description="The same on a schedule, on new data, or when the model has drifted; ends in seconds when "
            "data, spec and code are unchanged. Off until switched on.",
            concurrency_limit=_ONE_WAITS,
            parameters={"spec": str(example)},
            schedules=[nightly],
            triggers=[_trigger(key, "shapes", f"shapes: {key}", active=False) for key in ON],
        ),
        _deployment(
            watch_data,
            description="Looks for labelled images where dataset.watch of a spec says; what is new joins its data set. "
            "Off until switched on.",
            concurrency_limit=_ONE_ALONE,
            parameters={"spec": str(example)},
            schedules=[Schedule(interval=timedelta(minutes=5), slug="every-5m", active=False)],
        ),
        _deployment(
            fleet_rollout,
            description="An existing release to an inventory, in waves. Run it again to take up a rollout that was "
            "cut.",
        ),
        _deployment(
            rollback,
            description="Rolls devices back to their previous release, or to one that they kept.",
        ),
    ]


def _deployment(flow: Flow[..., Any], name: Optional[str] = None, **options: Any) -> RunnerDeployment:
    made: Any = flow.to_deployment(
        name or flow.name, work_pool_name=POOL, entrypoint_type=EntrypointType.MODULE_PATH, **options
    )
    return cast("RunnerDeployment", made)


def _trigger(key: str, project: str, name: str, active: bool) -> DeploymentEventTrigger:
    """An automation that starts a run of its deployment on an event of a project; ``key``: of ``ON``."""
    return DeploymentEventTrigger(
        name=name,
        enabled=active,
        expect={ON[key].event.name},
        match={"prefect.resource.id": Subject("project", project).id},
    )


def _scheduled(one: RetrainSchedule) -> RunnerDeployment:
    """A deployment for each schedule, so that runs of two specs at the same time do not push each other out.

    An event may tell of what a run that goes on has not seen: a run waits for that one's end, and takes in all that
    came meanwhile (``waiting_runs``).
    """
    from jetlane.flows.scheduled_retrain import scheduled_retrain

    project = project_in(Path(one.spec))
    when: dict[str, Any] = {"cron": one.cron, "rrule": one.rrule}
    if one.interval is not None:
        when["interval"] = timedelta(seconds=one.interval)
    else:
        when["timezone"] = one.timezone
    return _deployment(
        scheduled_retrain,
        one.name,
        description=f"Retrains {one.spec}: {one.when}. Ends in seconds when nothing changed.",
        concurrency_limit=_ONE_WAITS if one.on else _ONE_ALONE,
        parameters={"spec": one.spec},
        schedules=[Schedule(slug=one.name, active=one.active, **when)] if one.is_timed else [],
        triggers=[_trigger(key, project, f"{one.name}: {key}", one.active) for key in one.on],
        tags=[TAG],
    )


def _watching(one: RetrainSchedule, seconds: float) -> RunnerDeployment:
    """What looks at the place that a schedule's spec watches."""
    from jetlane.flows.watch_data import watch_data

    return _deployment(
        watch_data,
        one.name,
        description=f"Looks for new data of {one.spec}.",
        concurrency_limit=_ONE_ALONE,
        parameters={"spec": one.spec},
        schedules=[Schedule(slug=one.name, active=one.active, interval=timedelta(seconds=seconds))],
        tags=[TAG, WATCH_TAG],
    )


@contextmanager
def _client(url: str, login: str, home: Path) -> Iterator[SyncPrefectClient]:
    """A client of a server.

    Args:
        login: The server's authentication string.
        home: Where Prefect's client may keep what it notes.
    """
    settings = {PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: login, PREFECT_HOME: home}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client


def make_deployments(url: str, login: str, home: Path, pool_made: Callable[[], None]) -> None:
    """Make what is missing, and bring the rest up to date; a schedule that a person switched on stays on.

    Args:
        login: The server's authentication string.
        home: Where Prefect's client may keep what it notes, and where the schedules are kept.
        pool_made: Called when a worker can be started.
    """
    from jetlane.tasks.train import LIMIT

    with _client(url, login, home) as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        pool_made()
        for deployment in deployments():
            _keep_switches(client, deployment)
            deployment.apply()
            _log.info("deployed %s", deployment.full_name)
        _bring_schedules(client, ScheduleBook(home))
        with suppress(ObjectAlreadyExists):
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=1))
    for one in ScheduleBook(home).all():
        if "data" in one.on:
            tell_untold(url, login, Path(one.spec))


def bring_schedules(url: str, login: str, home: Path) -> None:
    """Make the server's schedules those that are kept in ``home``."""
    with _client(url, login, home) as client:
        _bring_schedules(client, ScheduleBook(home))


def _bring_schedules(client: SyncPrefectClient, book: ScheduleBook) -> None:
    kept = {one.name: one for one in book.all()}
    there = client.read_deployments(deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])))
    for deployment in there:
        one = kept.get(deployment.name)
        if one is None or (WATCH_TAG in deployment.tags and one.watch is None):
            client.delete_resource_owned_automations(f"prefect.deployment.{deployment.id}")
            client.delete_deployment(deployment.id)
            _log.info("removed the schedule %s", deployment.name)
    active = {}
    for one in kept.values():
        retrains = _scheduled(one)
        for made in [retrains] if one.watch is None else [retrains, _watching(one, one.watch)]:
            if not one.pending:
                _keep_switches(client, made)
            made.apply()
        active[one.name] = any(_switches(retrains))
        _log.info("scheduled %s: %s", one.spec, one.when)
    if kept:
        book.settle(active)


def _switches(deployment: RunnerDeployment) -> Iterator[bool]:
    """Which of its schedules and automations are on."""
    yield from (bool(schedule.active) for schedule in deployment.schedules or [])
    yield from (bool(getattr(trigger, "enabled", True)) for trigger in deployment.triggers)


def _keep_switches(client: SyncPrefectClient, deployment: RunnerDeployment) -> None:
    """Take over which schedules and automations of a deployment that exists are switched on."""
    try:
        known = client.read_deployment_by_name(deployment.full_name)
    except ObjectNotFound:
        return
    active = {schedule.slug: schedule.active for schedule in known.schedules}
    for schedule in deployment.schedules or []:
        schedule.active = active.get(schedule.slug, schedule.active)
    there = client.read_resource_related_automations(f"prefect.deployment.{known.id}") if deployment.triggers else []
    enabled = {automation.name: automation.enabled for automation in there}
    for trigger in deployment.triggers:
        trigger.enabled = enabled.get(trigger.name or "", trigger.enabled)  # type: ignore[union-attr]
