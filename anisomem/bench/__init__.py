"""What the project's claims about cost come to on this machine: ``anisomem bench``.

``bench`` runs everything and writes the table; each other file measures one thing and returns
lines of it, at ``cases`` of throw-away prompts. What a single run's detectors cost is measured in
:mod:`anisomem.benchmark.costs` instead.
"""
