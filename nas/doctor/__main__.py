"""`python -m nas.doctor`."""

import sys

from nas.doctor.command import main

sys.exit(main())
