"""A release's lineage in MLflow: a run with parameters, metrics and the lineage, and a version of a registered model.

MLflow's lean client (``mlflow-skinny``, the extra `mlflow`) talks to a tracking server, or keeps a database by itself.
No model is uploaded: a board gets a release from the workspace, and MLflow knows where it came from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import JetlaneError
from jetlane.specs.support import secrets
from jetlane.specs.support.text import harmless

#: On MLflow's runs and model versions: the release's id.
TAG = "jetlane.release"
#: Of MLflow's client where nothing else is said: a server that is gone is noticed soon, and usage is told to nobody.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
#: Characters of a parameter, and what MLflow takes in a metric's name.
_LONGEST, _ODD = 500, re.compile(r"[^\w\-. /]")


@dataclass(frozen=True)
class Registered:
    """Where a release stands in MLflow.

    Attributes:
        run: Id of the run.
        model: The registered model: the project.
        version: Of the model.
        new: Whether this call made them; False where they were there.
    """

    run: str
    model: str
    version: str
    new: bool


def register(uri: str, lineage: Mapping[str, Any]) -> Registered:
    """Record a release; a second time changes nothing but which version is live.

    Args:
        uri: Of a tracking server (``http://``), or of a database (``sqlite:////path``).
        lineage: What ``lineage_of`` gives.

    Raises:
        ImportError: ``mlflow-skinny`` is not installed.
        JetlaneError: MLflow refuses, or cannot be reached.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with _in_words(uri):
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        release, model = str(lineage["release"]), str(lineage["project"])
        run, made = _run(client, uri, lineage)
        version, versioned = _version(client, release, model, run)
        if lineage.get("state") == "live":
            client.set_registered_model_alias(model, "live", version)
    return Registered(run, model, version, made or versioned)


def _run(client: Any, uri: str, lineage: Mapping[str, Any]) -> tuple[str, bool]:
    release, model = str(lineage["release"]), str(lineage["project"])
    known = client.get_experiment_by_name(model)
    experiment = known.experiment_id if known is not None else client.create_experiment(model, _artifacts(uri))
    there = client.search_runs([experiment], f"tags.`{TAG}` = '{release}' and attributes.status = 'FINISHED'")
    if there:
        return str(there[0].info.run_id), False
    sources = lineage.get("sources") or {}
    tags = {TAG: release, **{f"jetlane.source.{_named(key)}": str(value)[:_LONGEST] for key, value in sources.items()}}
    run = client.create_run(experiment, run_name=release, tags=tags, start_time=int(1000 * lineage["made"])).info.run_id
    for name, value in params(lineage):
        client.log_param(run, name, value)
    for name, number in metrics(lineage):
        client.log_metric(run, name, number)
    client.log_dict(run, dict(lineage), "lineage.json")
    client.set_terminated(run)
    return str(run), True


def _artifacts(uri: str) -> Optional[str]:
    """Beside a database of one's own: else they would lie in whatever folder is the current one."""
    scheme, _, database = uri.partition(":///")
    if not scheme.startswith("sqlite") or not database:
        return None
    return Path(f"{database.partition('?')[0]}-artifacts").absolute().as_uri()


def _version(client: Any, release: str, model: str, run: str) -> tuple[str, bool]:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(model)
    except MlflowException:
        client.create_registered_model(model, description="Made by jetlane; a version for each release.")
    for known in client.search_model_versions(f"name='{model}'"):
        if known.tags.get(TAG) == release:
            return str(known.version), False
    source = client.get_run(run).info.artifact_uri
    return str(client.create_model_version(model, source, run, tags={TAG: release}).version), True


def params(lineage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a release was made with: the parameters of each step, and versions of tools."""
    yield "model", str(lineage.get("model"))
    yield "serial", str(lineage.get("serial"))
    for step in lineage.get("steps", ()):
        given = step.get("params")
        for key, value in given.items() if isinstance(given, Mapping) else ():
            yield _named(f"{step['step']}.{key}"), harmless(str(value), _LONGEST)
    for tool, version in (lineage.get("tools") or {}).items():
        yield _named(f"tool.{tool}"), harmless(str(version), _LONGEST)


def metrics(lineage: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What a release is worth. MLflow takes no ``@`` in a name: mAP@0.5 is ``mAP50``."""
    found = (lineage.get("metrics") or {}).get("evaluation") or {}
    given = {"mAP": found.get("mAP"), "mAP50": found.get("mAP@0.5")}
    for name, one in (found.get("per_class") or {}).items():
        given[f"AP50/{name}"] = one.get("AP@0.5")
    trained: Mapping[str, Any] = next((step for step in lineage.get("steps", ()) if step["step"] == "train"), {})
    given["train_loss"] = (trained.get("facts") or {}).get("loss")
    given["train_seconds"] = trained.get("seconds")
    for board, taken in (lineage.get("latency_ms") or {}).items():
        given[f"latency_ms/{board}"] = taken
    for name, value in given.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield _named(name), float(value)


def _named(text: str) -> str:
    return _ODD.sub("_", text)[: _LONGEST // 2]


@contextmanager
def _in_words(uri: str) -> Iterator[None]:
    """MLflow's errors, and those of the driver below it."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        shown = secrets.shown(uri)
        why = harmless(secrets.hide(str(error)) or type(error).__name__, 1000)
        raise JetlaneError(
            f"MLflow at {shown} does not take the release",
            why,
            "check the address; a server's login belongs into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        ) from error
