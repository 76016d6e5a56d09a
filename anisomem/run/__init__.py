"""What is common to all that is recorded, whether for a table, a trade-off or the geometry.

``base`` is a run: one model on one prompt set, its identity and its folder. ``prompts`` and
``ordinary`` choose what it evaluates, ``identity`` says which settings make two runs the same,
``stored`` reads a run that may come from somebody else. ``sharing`` says who computes (on which
``devices`` of this machine), ``workers`` hands tasks out to them, ``processes`` and ``on_ray`` are
those who take them. ``clock`` measures seconds and memory, ``provenance`` names the machine.
Nothing here knows which tasks those are.
"""
