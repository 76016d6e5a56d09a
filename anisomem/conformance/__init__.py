"""What every detector has to keep, as checks: ``anisomem check-detector``, or a test of one's own.

.. code-block:: python

    from anisomem.conformance import DetectorConformance

    class TestMine(DetectorConformance):
        detector = Mine("mine")

A detector is tried on Gaussian mixtures whose optimal network is known in closed form, one for
each thing that a network may predict, where half of the prompts select a component of tiny
standard deviation, as a memorized picture is, and half an ordinary one; what a component does not
spread, its mean has, so that all have the same second moment. One that reads attention
or pictures is tried on the bundled models instead. :data:`CHECKS` are functions of such a
:class:`Examination` that return what they found and raise ``AssertionError`` where a rule is
broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from anisomem.conformance.checks import CHECKS
from anisomem.conformance.examination import Examination, Setup, examinations, setups
from anisomem.detection.base import Detector


@dataclass(frozen=True)
class Finding:
    """What a check found on all models.

    Attributes:
        check: A key of :data:`CHECKS`, or ``models``.
        ok: Whether the rule is kept.
        detail: What was found, and where a model is refused, why.
    """

    check: str
    ok: bool
    detail: str

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "FAILED"
        return f"{verdict:6}  {self.check:13}  {self.detail}".rstrip()


def check(detector: Detector, on: Sequence[Setup] | None = None) -> Iterator[Finding]:
    """Every finding about a detector, one after the other as they are made.

    Arguments:
        detector: The detector that is tried.
        on: The models; if not given, those of :func:`setups`.
    """
    accepted, refused = examinations(detector, setups(detector) if on is None else on)
    names = [exam.setup.name for exam in accepted] or ["none"]
    detail = [", ".join(names), *(f"refused: {setup}: {why}" for setup, why in refused.items())]
    yield Finding("models", bool(accepted), "; ".join(detail))
    for name, function in CHECKS.items():
        wrong: dict[str, list[str]] = {}
        kept: dict[str, list[str]] = {}
        for exam in accepted:
            try:
                told = function(exam) or (function.__doc__ or "").partition("\n")[0]
                kept.setdefault(told, []).append(exam.setup.name)
            except AssertionError as error:
                wrong.setdefault(str(error), []).append(exam.setup.name)
            except Exception as error:  # somebody's code, of which one line is wanted
                why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
                wrong.setdefault(why, []).append(exam.setup.name)
        detail = [
            text if len(where) == len(accepted) else f"{text} ({', '.join(where)})"
            for text, where in (wrong or kept).items()
        ]
        if accepted:
            yield Finding(name, not wrong, "; ".join(detail))


class DetectorConformance:
    """Every check as a test; subclass it in a test file and set ``detector``.

    Attributes:
        detector: The detector, an instance.
    """

    detector: ClassVar[Detector]
    _tried: ClassVar[tuple[list[Examination], dict[str, str]] | None] = None

    @classmethod
    def tried(cls) -> list[Examination]:
        """The models that the detector works on, evaluated once for all tests.

        Raises:
            AssertionError: The detector refuses every model.
        """
        if cls._tried is None:
            cls._tried = examinations(cls.detector, setups(cls.detector))
        accepted, refused = cls._tried
        assert accepted, f"refuses every model: {refused}"
        return accepted


def _test(function: Callable[[Examination], str]) -> Callable[[DetectorConformance], None]:
    def test(self: DetectorConformance) -> None:
        for exam in self.tried():
            try:
                function(exam)
            except AssertionError as error:
                raise AssertionError(f"{exam.setup.name}: {error}") from None

    test.__doc__ = function.__doc__
    return test


for _name, _function in CHECKS.items():
    setattr(DetectorConformance, f"test_{_name.lower()}", _test(_function))
