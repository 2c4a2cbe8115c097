"""Samplers, which draw candidates from a space: `registry.py` has them by name."""
