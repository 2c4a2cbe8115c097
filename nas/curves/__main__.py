"""`python -m nas.curves --cells lstm --tasks adding parity`: how cells learn tasks."""

import sys

from nas.curves.command import main

if __name__ == "__main__":
    sys.exit(main())
