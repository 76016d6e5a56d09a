"""``python -m anisomem``.

The command line itself is :mod:`anisomem.cli.main`.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # worker processes import this file, too
    # Python puts the current folder first, where a file may bear the name of a library's module.
    if Path(sys.path[0]).resolve() not in Path(__file__).resolve().parents:
        del sys.path[0]
    from anisomem.cli.main import main

    sys.exit(main())
