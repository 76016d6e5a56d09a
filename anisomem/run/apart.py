"""Puts the process that imports it into a group of its own: the server of ``processes``.

What ends the group of the command, as Slurm does, then ends neither the server nor a copy of it
that is about to begin.
"""

import os

os.setpgid(0, 0)
