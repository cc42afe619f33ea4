"""Runs a flow of jetlane.flows with arguments given as JSON; prints ``OUTCOME`` and what it returned, or its error."""

from __future__ import annotations

import importlib
import json
import sys

from jetlane.flows.serving.local_run import quiet_prefect
from jetlane.specs.errors import JetlaneError


def main() -> None:
    quiet_prefect(debug=False)
    module, name, arguments = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    flow = getattr(importlib.import_module(module), name)
    try:
        outcome = flow(**arguments)
    except JetlaneError as error:
        outcome = {"error": str(error)}
    print("OUTCOME " + json.dumps(outcome), flush=True)


if __name__ == "__main__":  # Dask's processes import this file
    main()
