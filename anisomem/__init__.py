"""A benchmark harness for memorization detectors of text-to-image diffusion models.

A run records what detectors read of a model (``benchmark``, over ``engine``, ``detection`` and
``models``) and makes tables of it (``report``); sweeps, trade-offs and the geometry have rooms of
their own. docs/architecture.md has the picture: nothing imports upwards. The detectors of other
papers are ``baselines``, the settings ``conf``.

In Python, docs/python.md::

    model = anisomem.load_model("testbed_epsilon")
    scores = anisomem.score(model, ["a red fox"], detector="anisotropy", n=4, seed=42)
    report = anisomem.compare(model, prompts, detectors=["wen", "jeon"])
    report = anisomem.evaluate(labels, scores)

Nothing is imported before it is used, so that ``import anisomem`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anisomem.api.compare import compare
    from anisomem.api.evaluate import evaluate
    from anisomem.api.models import load_model
    from anisomem.api.report import Report
    from anisomem.api.score import score
    from anisomem.detection.base import Detector
    from anisomem.errors import UserError

__all__ = ["Detector", "Report", "UserError", "compare", "evaluate", "load_model", "score"]

_PLACES = {
    "Detector": "anisomem.detection.base",
    "Report": "anisomem.api.report",
    "UserError": "anisomem.errors",
    "compare": "anisomem.api.compare",
    "evaluate": "anisomem.api.evaluate",
    "load_model": "anisomem.api.models",
    "score": "anisomem.api.score",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
