"""What a person at a terminal sees besides the results: progress, and where words go.

``progress`` shows what is going on, ``terminal`` says where words go. Results are printed by the
commands, and errors by :mod:`anisomem.errors`.
"""
