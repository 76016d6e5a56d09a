"""What is read from a store once, for all tables of a command."""

import pytest

from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.config import compose


def test_no_detector_can_change_what_the_others_score(gallery_run):
    (composed,) = compose.cases(gallery_run[0])
    results = Results(Case(composed, "quickstart"))
    values = next(iter(results.recorded(42).components.values()))
    with pytest.raises(ValueError, match="read-only"):
        values -= values.mean()
    assert results.recorded(42) is results.recorded(42)
