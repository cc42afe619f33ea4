"""TensorBoard's process: ``python -m jetlane.flows.serving.tensorboard_process``, with TensorBoard's own arguments.

It ends when its standard input closes, so it never outlives the command that started it.
"""

from __future__ import annotations

from jetlane.flows.serving.server_process import end_with_parent


def main() -> None:
    """Serve until standard input closes."""
    from tensorboard.main import run_main

    end_with_parent()
    run_main()


if __name__ == "__main__":
    main()
