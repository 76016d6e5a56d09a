"""What limits the numbers of a table, in the notes below it.

The limits are found by :mod:`anisomem.evaluation`; here they become sentences.
"""

from anisomem.evaluation import Estimate


def limits_of(estimate: Estimate) -> list[str]:
    """What limits a number and its interval, in words."""
    return [note for note in (estimate.note, estimate.interval.note) if note]


class Limits:
    """Collects them: each note once, with the detectors it concerns."""

    def __init__(self) -> None:
        self._detectors: dict[str, list[str]] = {}  # by column
        self._found: dict[tuple[str, str], list[str]] = {}  # by column and note

    def add(self, column: str, detector: str, estimate: Estimate) -> None:
        """Notes what limits one number."""
        self._detectors.setdefault(column, []).append(detector)
        for note in limits_of(estimate):
            self._found.setdefault((column, note), []).append(detector)

    def notes(self) -> list[str]:
        """One line each; detectors are named where it does not concern the whole column."""
        lines = []
        for (column, note), detectors in self._found.items():
            every = detectors == self._detectors[column]
            concerned = "" if every else f" ({'; '.join(detectors)})"
            lines.append(f"{column}{concerned}: {note}.")
        return lines
