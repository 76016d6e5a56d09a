"""What the commands do, as functions: for notebooks and programs, see docs/python.md.

Thin over the rooms below: ``models`` loads as a run does, ``score`` and ``compare`` record by the
same code into memory, ``evaluate`` judges scores from anywhere, and a ``report`` shows itself.
``import anisomem`` names them and imports none before it is used.
"""

from anisomem.console import terminal

terminal.quiet_libraries()
