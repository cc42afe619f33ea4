"""SSH to one host: connection, login, host keys, OpenSSH's configuration, transfer, and limits on all of these."""
