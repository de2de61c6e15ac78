"""`python -m concurrent_exec.cli`: the command line without its console script."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
