"""Names of flow runs: what each is about, and when it began."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


def run_name(subject: Callable[[Mapping[str, Any]], str]) -> Callable[[], str]:
    """For a flow's ``flow_run_name``: ``<subject>-2026-11-28-031245``, in UTC.

    Args:
        subject: Takes the flow run's parameters.
    """

    def name() -> str:
        from prefect.runtime import flow_run

        return f"{subject(flow_run.parameters)}-{datetime.now(timezone.utc):%Y-%m-%d-%H%M%S}"

    return name


def project_in(spec: Path) -> str:
    """The project's name in a spec's file; the file's own where the spec cannot be read, which the run will say."""
    from jetlane.specs.errors import JetlaneError
    from jetlane.specs.names import is_name
    from jetlane.specs.support.yaml_marks import read

    try:
        data = read(spec).data
    except (JetlaneError, OSError):
        return spec.stem
    name = data.get("name") if isinstance(data, Mapping) else None
    return name if isinstance(name, str) and is_name(name) else spec.stem
