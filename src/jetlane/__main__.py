"""``python -m jetlane``."""

from jetlane.flows.cli.main import main

if __name__ == "__main__":
    main()
