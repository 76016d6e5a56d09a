"""Evidence that stands: a finished run or scan in one file, and what a stranger can check of it.

``pack`` is the way out: ``rows`` copies what was recorded (``redaction`` hides prompts in it),
``derived`` computes tables of the copy, ``archive`` writes both. ``verify`` is the way back:
``archive`` takes the file apart and ``bounds`` reads its tables, ``reading`` makes a run or a scan
of its rows without running anything that it names, ``derived`` computes the tables again,
``digits`` compares.
"""
