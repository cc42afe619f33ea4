"""Virtual Jetsons: SSH servers on this machine that run the real agent."""
