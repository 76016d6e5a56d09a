"""``python -m anisomem``."""

import sys

from anisomem.cli import main

if __name__ == "__main__":  # worker processes import this file, too
    sys.exit(main())
