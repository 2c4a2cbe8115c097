"""`python -m nas.show`."""

import sys

from nas.show.command import main

sys.exit(main())
