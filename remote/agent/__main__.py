"""Run the agent: ``python3 agent.pyz --root DIR COMMAND``."""

import sys

from .cli import main

sys.exit(main(sys.argv[1:]))
