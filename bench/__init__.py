"""Side-by-side measurements, each a command: ``python -m bench.convert``, ``python -m bench.inference``."""
