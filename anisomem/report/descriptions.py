"""What each detector of a report is, in two sentences."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass

from anisomem.config import catalog
from anisomem.detection.base import Detector

OWN = "anisomem."  # begins the modules of classes that this package brings


@dataclass(frozen=True)
class Description:
    """A detector for a reader who does not know it.

    Attributes:
        name: The row it fills.
        text: What it is, and what it reads.
        source: Who published it; "" for what nobody has.
        link: Where that can be read; "" where it is not known.
        recorded: The names of what is recorded of it, which say every choice.
    """

    name: str
    text: str
    source: str
    link: str
    recorded: str


def descriptions(detectors: Iterable[Detector]) -> list[Description]:
    """One for each name, in their order."""
    by_name = {detector.name: detector for detector in detectors}
    return [_described(detector) for detector in by_name.values()]


def _described(detector: Detector) -> Description:
    info = detector.info
    sentences = [_title(detector)]
    if info:
        turned = f": {info.orientation}" * (info.memorized == "smaller")
        sentences.append(f"It reads {info.reads}{turned}.")
    elif not detector.sees_model:
        sentences.append("It never sees the model: what it reaches is no evidence about it.")
    arxiv = info.paper.arxiv if info else None
    return Description(
        detector.name,
        " ".join(sentences),
        info.paper.cited if info else "",
        f"https://arxiv.org/abs/{arxiv}" if arxiv else "",
        ", ".join(detector.component_names),
    )


def _title(detector: Detector) -> str:
    """The line that lists it, or else the first of its class's text."""
    shipped = type(detector).__module__.startswith(OWN)
    if shipped and detector.name in catalog.names("detector"):
        return catalog.title(catalog.folder() / "detector" / f"{detector.name}.yaml")
    return (inspect.getdoc(type(detector)) or f"{detector.name}.").partition("\n")[0]
