"""`python -m nas.report`."""

import sys

from nas.report.command import main

if __name__ == "__main__":
    sys.exit(main())
