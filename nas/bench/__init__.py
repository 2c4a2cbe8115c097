"""How fast cells are, against torch's own modules and the eager backend: `python -m nas.bench`."""
