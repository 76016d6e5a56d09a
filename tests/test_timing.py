"""Costs are measured, not assumed."""

import numpy as np
import pytest
import torch

from anisomem.benchmark import measured
from anisomem.benchmark.case import Case
from anisomem.config import compose
from anisomem.errors import UserError
from anisomem.run import clock as timing
from anisomem.run.clock import peak_mb
from anisomem.storage import atomic


def test_peak_is_that_of_the_work_alone(make_pipeline):
    from anisomem.models.diffusers_unet import DiffusersUNet

    model = DiffusersUNet(make_pipeline())
    np.ones(40_000_000)  # 320 MB, freed before anything is measured
    idle = peak_mb(model, lambda: None)
    assert peak_mb(model, lambda: np.ones(40_000_000)) == pytest.approx(idle + 320, abs=30)


def test_it_is_timed_in_one_thread_and_counted_without(large_run, tmp_path, monkeypatch):
    threads, engine = [], timing.Engine

    def spy(*given):
        threads.append(torch.get_num_threads())
        return engine(*given)

    monkeypatch.setattr(timing, "Engine", spy)
    small = [*large_run, "detector=[anisotropy,jeon,random]", "workers=1"]
    small += ["detector.anisotropy.n=[2]", "detector.jeon.n=[1]"]
    costs = []
    torch.set_num_threads(2)
    try:
        for repeats in (0, 1):
            more = [f"timing_repeats={repeats}", f"runs={tmp_path / str(repeats)}"]
            case = Case(compose.cases([*small, *more])[0], "timed")
            case.run()
            costs.append(measured.costs(case.measured()))
    finally:
        torch.set_num_threads(1)
    counted, timed = costs
    assert set(threads) == {1}
    assert len(counted) == 2 and all(
        set(cost) == set(measured.COUNTED) for cost in counted.values()
    )
    assert counted == {
        key: {name: cost[name] for name in measured.COUNTED} for key, cost in timed.items()
    }
    assert all(len(cost["isolated"]) == 3 for cost in timed.values())


def test_seconds_of_more_threads_are_left_out():
    cost = {"nfe": 2.0, "shared_nfe": 1, "jvps": 0.0}
    timed = cost | {"isolated": [1.0, 1.0, 1.0], "amortised": 1.0, "peak_mb": 1.0}
    content = {"timing": {"repeats": 5}, "costs": {"key": timed}}
    assert measured.costs(content) == {"key": cost}
    content["timing"]["threads"] = 1
    assert measured.costs(content) == {"key": timed}


@pytest.mark.parametrize(
    "content",
    [
        '{"costs": 3}',
        '{"costs": {"key": {"nfe": "2"}}}',
        '{"costs": {"key": {"nfe": 2, "shared_nfe": 1, "jvps": 0, "isolated": [1]}}}',
        '{"timed_on": []}',
        '{"truncated_prompts": "none"}',
    ],
)
def test_what_was_measured_in_another_layout_is_damaged(tmp_path, content):
    atomic.write_text(file := tmp_path / "measured.json", content)
    with pytest.raises(UserError, match=r"measured\.json is damaged; remove it"):
        measured.read(file)
