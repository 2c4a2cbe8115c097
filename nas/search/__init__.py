"""`python -m nas.search` and `nas.search(...)`: search for recurrent cells."""

from nas.calls import make_callable
from nas.search.search import main as main

make_callable(__name__, "nas.search.call:search")
