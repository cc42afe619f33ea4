"""Run the agent: ``python3 agent.pyz --root DIR COMMAND``."""

import sys

from .cli import run

run(sys.argv[1:])
