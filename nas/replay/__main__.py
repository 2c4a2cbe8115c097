"""`python -m nas.replay FILE`: compare samplers on a recorded study."""

import sys

from nas.replay.command import main

if __name__ == "__main__":
    sys.exit(main())
