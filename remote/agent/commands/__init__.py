"""One module for each command of the agent; ``cli`` finds them."""
