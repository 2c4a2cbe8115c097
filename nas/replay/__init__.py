"""Samplers compared on recorded outcomes, in seconds and without training.

    study -> table.py -> bench.py: cells -> run.py: searches -> compare.py: regret -> report.py

The loop of `run.py` is not the coordinator of a search: a table holds judgements and no outcomes
that workers could answer with, a sampler of choices has its suggestions replaced by those of a
recorded cell, and the coordinator stores each candidate, which takes far longer than a draw from a
table. To compare a sampler of your own: `python -m nas.replay FILE --samplers module:Class`.
"""
