"""`python -m nas.search`."""

import sys

from nas.search.search import main

if __name__ == "__main__":
    sys.exit(main())
