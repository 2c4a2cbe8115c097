"""`python -m nas.search` and `nas.search(...)`: search for recurrent cells."""

from nas.search.search import main as main
from nas.session.calls import make_callable

make_callable(__name__, "nas.search.call:search")
