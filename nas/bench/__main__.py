"""`python -m nas.bench`."""

import sys

from nas.bench.command import main

sys.exit(main())
