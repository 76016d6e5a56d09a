"""What the words of a table mean, for a reader who meets them there first."""

from collections.abc import Sequence

from anisomem.datasets.prompts import PromptSet
from anisomem.report.table import Table

BUNDLED = "testbed_"  # begins the names of the prompt sets of bundled models
#: Where prompts of a bundled set come from; sets of others have names of their own.
BLOCKS = {
    "repeated": "captions that training repeated with the same picture",
    "near_miss": "a repeated caption with one word exchanged",
    "seen": "training captions that came with varied pictures",
    "unseen_wording": "a known concept in words that training never had",
    "unseen_pair": "two known concepts that training never had together",
}
KINDS = {
    "verbatim": "a training picture is reproduced whole",
    "template": "a training picture is reproduced but for a part of it that varies",
}
COLUMNS = {
    "detector": "What gives every prompt one score before a picture is generated; the links lead"
    " to what each one is.",
    "n": "Noise samples that a score is averaged over; – where it takes none.",
    "AUC": "The chance that a memorized prompt scores above another one: 1 is perfect, 0.5 a coin,"
    " and less points the wrong way.",
    "TPR@": "The share of memorized prompts that are found where so much of the others, the"
    " false-positive rate (FPR), is called memorized too.",
    "NFE": "Network evaluations for one prompt; JVP: directional derivatives, each of about two.",
    "s ": "Seconds for ten prompts: of the detector alone, and of its part of one run of all.",
}
UNITS = (
    "Prompts that are related, as near-duplicates are, form a cluster and are drawn together. An"
    " interval of prompts in clusters is as wide as one of fewer that are independent: its units,"
    " or effective clusters."
)


def explained(table: Table) -> list[tuple[str, str]]:
    """What stands in a table's columns and notes, by the word for it."""
    found = []
    for begin, text in COLUMNS.items():
        own = [h for h in table.headings if h == begin or (h.startswith(begin) and len(begin) > 1)]
        if own:
            found.append((", ".join(own), text))
    said = " ".join(table.notes)
    if " units" in said or "clusters" in said:
        found.append(("units, clusters", UNITS))
    return found


def of_parts(prompts: PromptSet, parts: Sequence[str]) -> list[str]:
    """What the names of a set's parts mean, a line each; of sets that come with this package.

    Arguments:
        prompts: The set.
        parts: The names of its parts, as :meth:`Results.parts` gives them.
    """
    lines = []
    if prompts.name.startswith(BUNDLED):
        for part in parts:
            block = part.removeprefix("against ")
            if block in BLOCKS and block != part:
                lines.append(f"{part}: memorized prompts against {BLOCKS[block]}.")
            elif part in KINDS:
                lines.append(f"{part}: {KINDS[part]}; against all other prompts.")
    return [*lines, *(["one per cluster: one prompt of all that are related."] if parts else [])]
