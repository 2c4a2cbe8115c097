"""`python -m nas.show CELL`: a cell as equations, numbers, a picture, and a walk through it.

a cell (command.py)
  -> what is said of it: equations, cost, speed, nearest known cell (about.py)
  -> its picture, LaTeX and walk (nas/cell), the page of all known cells (gallery.py)
  -> for trained weights, data at every step (trained.py, heat.py; values by nas/nn/watched.py)
"""

from nas.show.command import main as main
