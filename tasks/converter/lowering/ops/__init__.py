"""One family of UFF operations per file; each offers ``RULES`` by the operation's name."""
