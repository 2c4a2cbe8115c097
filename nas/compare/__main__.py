"""`python -m nas.compare CELL CELL…`: chosen cells, tuned alike, on fresh seeds."""

import sys

from nas.compare.command import main

if __name__ == "__main__":
    sys.exit(main())
