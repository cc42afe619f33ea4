"""Rolls a release out to many devices in waves, and records every step in a ledger, so that any process can resume it.

``rules`` has the rules of a rollout, ``state`` what is known of one (the fold of the ledger's events), ``ledger`` the
events, ``leases`` keep two rollouts off one device. ``creation`` creates or resumes a rollout, ``rollout`` is the
engine, ``session`` its hold on one rollout, ``scheduler`` runs ``device_jobs`` in parallel, ``device_operations`` is
all that is done to a device, ``observer`` what watches, ``controls`` what other processes may request.
"""
