"""Makes ``prefect deployment run retrain-and-deploy --params spec.yaml`` work as it stands.

Prefect loads this module through the entry point group ``prefect.plugins`` in every process that imports Prefect with
plugins switched on (pyproject.toml does, for the project's root), so it does next to nothing: it names the server that
``jetlane up`` started here and its login, unless another is set, and for ``prefect deployment run`` alone it completes
a bare deployment name and turns a YAML file into the JSON that Prefect wants. The spec is checked before anything is
sent.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Optional

from prefect.plugins import SetupResult, register_hook

PREFECT_PLUGIN_API_REQUIRES = ">=0.1,<1"


@register_hook
def setup_environment(*, ctx: Any) -> Optional[SetupResult]:
    """Prefect's start-up hook."""
    from jetlane.flows.plugin.spec_arguments import rewrite, starts_run
    from jetlane.flows.serving.up_state import local_server
    from jetlane.specs.errors import JetlaneError

    try:
        sys.argv[1:] = rewrite(sys.argv[1:])
    except JetlaneError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    known = local_server(ctx.api_url)
    if starts_run(sys.argv[1:]) and not known and not ctx.api_url:
        print("no Prefect server of this folder runs\nwhat to do: start one: jetlane up", file=sys.stderr)
        raise SystemExit(1)
    # Not by the result: `prefect plugins diagnose` prints that, and takes an authentication string for no secret.
    os.environ.update(known)
    return SetupResult(env={"PREFECT_API_URL": known["PREFECT_API_URL"]}) if known else None
