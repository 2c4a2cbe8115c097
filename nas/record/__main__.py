"""`python -m nas.record`."""

import sys

from nas.report.recording import main

if __name__ == "__main__":
    sys.exit(main())
