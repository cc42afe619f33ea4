"""``python -m jetlane``."""

from jetlane.flows.cli import main

if __name__ == "__main__":
    main()
