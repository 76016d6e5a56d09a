"""A detector as the configuration has it, by name or by the dotted path of its class."""

from collections.abc import Sequence

from anisomem import config
from anisomem.detection.base import Detector


def at(target: str, settings: Sequence[str]) -> Detector:
    """A detector by name or dotted path of its class, at the fewest n that it is configured with.

    Arguments:
        target: ``wen``, or ``mine.Mine``.
        settings: Of the detector, ``steps=5``.

    Raises:
        UserError: There is none or there are several of the name, or it cannot be built.
    """
    path, _, made = target.rpartition(".")
    name = made.lower() if path else target
    chosen = [f"+detector.{name}._target_={target}"] if path else []
    composed = config.cases(
        [
            f"detector=[{'' if path else name}]",
            *chosen,
            *(f"++detector.{name}.{setting}" for setting in settings),
        ]
    )
    return min(config.detectors(composed[0]), key=lambda detector: detector.n)
