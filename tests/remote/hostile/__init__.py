"""A board that speaks the agent's protocol over real SSH, and departs from it wherever a case says.

``honest`` is what the agent would say, ``departures`` what a case makes of it, ``server`` the process that serves it,
``raw`` the departures below SSH, ``cases`` the generator, and ``double`` starts it all for the tests.
"""
