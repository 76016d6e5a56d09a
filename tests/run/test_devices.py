"""Which processes there are, and on which devices of the machine."""

import json
import os
from types import SimpleNamespace

import pytest
import torch

from anisomem.benchmark.case import Case
from anisomem.benchmark.complete import complete
from anisomem.cli.main import main
from anisomem.config import compose
from anisomem.errors import UserError
from anisomem.run import devices, on_ray, sharing
from anisomem.storage.store import SECONDS

CORES = len(os.sched_getaffinity(0))
GPUS = ["cuda:0", "cuda:1"]


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(devices, "accelerators", lambda: GPUS)


def config(named=(), workers=None, **model):
    return SimpleNamespace(
        devices=list(named), workers=workers, model={"device": "auto"} | model, model_name="mine"
    )


@pytest.mark.parametrize(
    ("settings", "kind", "expected"),
    [
        (config(), "cpu", [None] * CORES),
        (config(workers=3), "cpu", [None] * 3),
        (config(["cpu"], workers=3), "cpu", ["cpu"] * 3),
        (config(), "cuda", GPUS),  # all of them
        (config(device="cuda:1"), "cuda", [None]),  # where the model says
        (config(device="cuda"), "cuda", [None]),
        (config(["cuda:1"]), "cuda", ["cuda:1"]),
        (config(["cuda:1", "cuda:0"]), "cuda", ["cuda:1", "cuda:0"]),
        (config(GPUS, workers=3), "cuda", ["cuda:0", "cuda:1", "cuda:0"]),
        (config(workers=1), "cuda", ["cuda:0"]),
    ],
)
def test_a_process_for_every_gpu_and_one_for_every_core(two_gpus, settings, kind, expected):
    model = SimpleNamespace(device=torch.device(kind))
    assert devices.of_processes(settings, model) == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (config(["cuda:0", "cuda:7"]), "'cuda:7', and this machine has cpu, cuda:0, cuda:1"),
        (config(["gpu"]), "names 'gpu', and this machine has"),
        (config(["cpu", "cuda:0"]), "several kinds"),
        (config(GPUS, device="cpu"), "contradicts model.device=cpu; give model.device=auto"),
        (config(GPUS, device=None), "model mine has no setting model.device"),
        (config(GPUS, workers=1), r"workers=1 leaves some of devices=\[cuda:0,cuda:1\] idle"),
    ],
)
def test_devices_that_cannot_be_are_refused_before_the_model_is_loaded(two_gpus, settings, said):
    with pytest.raises(UserError, match=said):
        devices.loaded(settings)


@pytest.mark.parametrize("command", ["run", "mitigate"])
def test_a_plan_knows_the_devices_too(command, capsys):
    words = ["model=testbed_epsilon", "dataset=testbed_epsilon", "dry_run=true"]
    assert main([command, "devices=[cuda:99]", *words]) == 2
    assert "devices=[cuda:99] names 'cuda:99'" in capsys.readouterr().err


@pytest.mark.slow
def test_two_devices_record_the_same_to_the_bit_and_are_named(large_run, tmp_path, monkeypatch):
    """There is one CPU, which torch takes by any number; all else is as with two GPUs."""
    monkeypatch.setattr(devices, "accelerators", lambda: ["cpu:0", "cpu:1"])
    words = [*large_run, "detector=[anisotropy]", "draws=100", "timing_repeats=0", "gallery=0"]
    words += ["limit=80"]
    frames = {}
    for name, more in {"one": ["workers=1"], "two": ["devices=[cpu:0,cpu:1]"]}.items():
        (composed,) = compose.cases([*words, *more, f"runs={tmp_path / name}"])
        case = Case(composed, "devices")
        complete(case)
        frames[name] = case.store.read().drop(columns=SECONDS)
        measured = json.loads((case.folder / "measured.json").read_text())
        assert set(measured["device"].split(", ")) <= {"cpu", "cpu:0", "cpu:1"}
    assert len(frames["one"]) > 80 and frames["one"].equals(frames["two"])
    assert measured["device"] in ("cpu:0", "cpu:1", "cpu:0, cpu:1")


@pytest.mark.parametrize(
    ("settings", "tasks", "there", "begun"),
    [
        ({"workers": None}, 2, False, ["server"]),
        ({"workers": 2}, 2, False, ["server"]),
        ({"workers": 1}, 2, False, []),
        ({"workers": None}, 2, True, []),
        ({"workers": None}, 1, False, []),
        ({"workers": None, "engine": "ray"}, 2, False, ["cluster", "actors"]),
        ({"workers": None, "engine": "ray"}, 1, False, []),
    ],
)
def test_others_begin_early_only_where_they_have_something_to_do(
    monkeypatch, tmp_path, settings, tasks, there, begun
):
    """A server where processes may be its copies, or actors."""
    monkeypatch.setattr(devices, "DRIVERS", [str(tmp_path / ("" if there else "none"))])
    asked = []
    for place, name, what in [
        (sharing, "begin_server", "server"),
        (on_ray, "require", None),
        (on_ray, "connect", "cluster"),
        (on_ray, "prepare", "actors"),
    ]:
        monkeypatch.setattr(place, name, lambda *_, what=what: what and asked.append(what))
    sharing.prepare(SimpleNamespace(**{"engine": "local"} | settings), tasks)
    assert asked == begun
