"""A release to many devices: in waves, with a ledger, so that nothing is lost whoever dies on the way.

``policy`` says how a rollout goes, ``state`` what is known of one (folded from the ledger's events), ``ledger`` keeps
the events, ``leases`` keep two rollouts off one device, ``rollout`` is the engine, ``boards`` its hands, ``observer``
its audience, ``begin`` starts or takes up a rollout, ``controls`` are what another process may ask of one.
"""
