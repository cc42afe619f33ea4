"""alembic's migrations of the ledger. A new one is a file in ``versions``; ``models.HEAD`` names the newest."""
