"""Intervals, tests and analysis of variance for comparisons."""
