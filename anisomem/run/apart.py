"""Imported by the server of ``processes`` alone: what the command's end means to it.

It is in a process group of its own: what ends the group of the command, as Slurm does, ends
neither the server nor a copy of it that is about to begin. And as it ends, Python looks for no
cycles among all that it has imported, which takes more than a second.
"""

import atexit
import gc
import os

os.setpgid(0, 0)
atexit.register(gc.freeze)
