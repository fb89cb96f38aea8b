"""`python3 -m binnacle_connector`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
