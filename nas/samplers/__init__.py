"""How candidates are drawn: `registry.py` has the samplers by name."""
