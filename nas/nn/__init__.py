"""Cells as torch modules: layers, models with embedding and output, and trained winners."""
