"""`python -m nas.study`."""

import sys

from nas.study.command import main

if __name__ == "__main__":
    sys.exit(main())
