"""The walk through a cell: one page that goes through a step of it, in the order of the graph.

a cell
  -> its steps: each gives one value, with the nodes that are computed for it (steps.py)
  -> what each value is for: which states it keeps, writes, shows (values.py, uses.py)
  -> sentences (phrases.py, words.py), the lit part of the picture (lit.py), the page (page.py)
"""
