"""Samplers compared on recorded outcomes, in seconds and without training.

    study -> table (write.py, table.py) -> bench of cells (bench.py, distance.py)
          -> searches among them (run.py, space.py) -> regret (regret.py, compare.py) -> report.py

To compare a sampler of your own: `python -m nas.replay FILE --samplers module:Class`.
"""
