"""`python -m nas.search`: search for recurrent cells."""

from nas.search.search import main as main
