"""Costs are measured, not assumed."""

import gc
import time

import numpy as np
import psutil
import pytest
import torch

from anisomem.benchmark import costs as timing
from anisomem.benchmark.case import Case
from anisomem.benchmark.complete import complete
from anisomem.benchmark.measured import Measured
from anisomem.benchmark.results import Results
from anisomem.config import compose
from anisomem.engine.cost import Counts, TimedCounts
from anisomem.errors import UserError
from anisomem.run import clock
from anisomem.run.clock import nothing, peak_mb
from anisomem.storage import atomic


def test_peak_is_that_of_the_work_alone(make_pipeline):
    from anisomem.models.diffusers_unet import DiffusersUNet

    model = DiffusersUNet(make_pipeline())
    gc.collect()  # what tests before have left would be freed while this measures
    np.ones(40_000_000)  # 320 MB, freed before anything is measured

    def takes_memory():
        taken = np.ones(40_000_000)
        time.sleep(0.2)  # on a busy machine, too, it is looked at while it is held
        return taken

    # What the process holds is looked at each time: the system takes idle pages from it meanwhile.
    for work, more in ((lambda: None, 0), (takes_memory, 320)):
        held = psutil.Process().memory_info().rss / 1e6
        assert peak_mb(model, work) == pytest.approx(held + more, abs=30)


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
            complete(case)
            costs.append(Results(case).measured.costs)
    finally:
        torch.set_num_threads(1)
    counted, timed = costs
    assert set(threads) == {1}
    assert len(counted) == 2 and all(type(cost) is Counts for cost in counted.values())
    assert counted == {
        key: Counts(cost.nfe, cost.shared_nfe, cost.jvps) for key, cost in timed.items()
    }
    assert all(isinstance(cost, TimedCounts) for cost in timed.values())


def test_seconds_of_more_threads_are_left_out(tmp_path):
    timed = TimedCounts(2.0, 1, 0.0, (1.0, 1.0, 1.0), 1.0, 1.0)
    on = {"device_name": "a", "dtype": "b"}
    for of, expected in (({"repeats": 5}, Counts(2.0, 1, 0.0)), ({"threads": 1}, timed)):
        Measured({"key": timed}, timing=of, timed_on=on).write(file := tmp_path / "m.json")
        assert Measured.read(file).costs == {"key": expected}


def test_what_was_measured_reads_back(tmp_path):
    costs = {"a": Counts(2, 1, 0.0), "b": TimedCounts(2.0, 1, 0.5, (1.0, 0.5, 2.0), 0.25, 8.0)}
    timed = {"threads": 1}, {"device_name": "a", "dtype": "b"}
    whole = Measured(costs, 3.5, 0, *timed, {"revision": None, "device": "cpu"})
    whole.write(file := tmp_path / "measured.json")
    assert Measured.read(file) == whole and whole
    assert not Measured.read(tmp_path / "none.json")


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
        Measured.read(file)


def test_turns_of_one_end_once_its_slowest_is_near_its_fastest(monkeypatch):
    now, lasts = [0.0], iter([1.0, 2.0, 1.3, 2.9, 2.2, 2.1, 2.0, 9.0])

    def contender():
        now[0] += next(lasts)

    monkeypatch.setattr(clock, "perf_counter", lambda: now[0])
    names = {"a": contender, "b": contender}
    seconds = clock.take_turns(names, 5, warm_up=nothing, agree=0.3)
    assert seconds["a"] == pytest.approx([1.0, 1.3])
    assert seconds["b"] == pytest.approx([2.0, 2.9, 2.2, 2.1, 2.0])
    now[0], lasts = 0.0, iter([1.0, 2.0, 1.0, 2.0, 1.0, 2.0])
    assert len(clock.take_turns(names, 3, warm_up=nothing)["a"]) == 3  # unless asked to


def test_memory_that_ends_does_not_end_in_a_timed_turn(large_run, tmp_path, monkeypatch):
    sizes, engine = [], timing.Engine

    class Halved(engine):
        """A machine that holds four latents of what is asked for."""

        def __init__(self, *given):
            sizes.append(given[-1])
            super().__init__(*given)
            self.batches.size = min(self.batches.size, 4)

    monkeypatch.setattr(timing, "Engine", Halved)
    small = [*large_run, "detector=[wen,random]", "detector.wen.n=[1]", f"runs={tmp_path}"]
    complete(Case(compose.cases([*small, "workers=1", "timing_repeats=1"])[0], "timed"))
    assert sizes == [None, 4, 4]  # the turn that warms up, wen's and that of all
