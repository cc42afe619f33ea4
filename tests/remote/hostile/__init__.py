"""A board that speaks the agent's protocol over real SSH, and deviates from it wherever a case says.

``honest`` is what the agent would say, ``deviations`` what a case makes of it, ``server`` the process that serves it,
``tcp_relay`` the deviations below SSH, ``cases`` the generator, and ``double`` starts it all for the tests.
"""
