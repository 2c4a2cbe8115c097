"""A cell or a trained winner as C99 for small machines: no allocation, no library.

module -> network in float64 (network.py) -> number formats of all values, by example data
       (ranges.py, formats.py)
    -> a function for each layer (layer.py, code.py) and what stands around the layers (ends.py),
       with constants (data.py) and the elementary functions that they call (functions.py)
    -> NAME.c and NAME.h (model.py, files.py), compiled and measured on test data (compiled.py,
       accuracy.py), in a folder with a README.md (folder.py)
"""
