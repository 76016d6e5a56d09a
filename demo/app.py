"""The demo as a Hugging Face Space; ``python demo/app.py`` starts it anywhere else too.

What is typed behind ``anisomem demo`` stands in the variable ANISOMEM_DEMO. A Space's own proxy is
all that reaches it there, so it listens on every address.
"""

import os
import shlex
import sys

from anisomem.cli.main import main

if __name__ == "__main__":
    words = shlex.split(os.environ.get("ANISOMEM_DEMO", ""))
    sys.exit(main(["demo", "--host", "0.0.0.0", *words]))
