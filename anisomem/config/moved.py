"""Where classes of this package stand now that stored configurations name by an earlier place.

Only names stand here. A stored configuration is read in :mod:`anisomem.run.stored`.
"""

#: How a dotted name began, and begins now.
MOVED = {
    "baselines.": "anisomem.baselines.",
    "anisomem.models.pretrained.PipelineModel.load": "anisomem.models.families.load",
    "anisomem.released.": "anisomem.benchmark.released.",
}


def place_before(target: str) -> str:
    """The dotted name that :func:`place_now` was given."""
    for before, now in MOVED.items():
        if target.startswith(now):
            return before + target.removeprefix(now)
    return target


def place_now(target: str) -> str:
    """The dotted name of now."""
    for before, now in MOVED.items():
        if target.startswith(before):
            return now + target.removeprefix(before)
    return target
