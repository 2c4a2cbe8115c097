"""`python -m nas.export CELL OUT`: write a cell as a plain file."""

import sys

from nas.export.command import main

if __name__ == "__main__":
    sys.exit(main())
