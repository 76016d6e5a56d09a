"""From stored numbers to tables: estimates, matched fidelity, what is printed and drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from anisomem.cli.main import main
from anisomem.config import compose
from anisomem.measures.base import Measure, Statistic, mean
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.run import identity
from anisomem.storage import digests
from anisomem.storage.store import Origin
from anisomem.tradeoff import report
from anisomem.tradeoff.results import COLUMNS, TradeoffResults, sufficient_draws
from anisomem.tradeoff.trial import Trial


@pytest.fixture
def command(overrides):
    return ["mitigate", "experiment=mitigation_testbed", *overrides]


def test_a_run_prints_its_tables_and_continues(command, capsys, tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "mitigation_testbed"
    (trial,) = (Trial(one, folder.name) for one in compose.cases(command[1:]))
    content = identity.as_version_2(trial.content, trial.config.model["_target_"])
    earlier = folder / f"prompts-{digests.digest(content)[:10]}"
    earlier.mkdir(parents=True)
    assert main(command) == 0
    printed, said = capsys.readouterr()
    assert f"{earlier} is of an earlier version" in said
    assert any(line.startswith("| none ") for line in printed.splitlines())
    assert ", prompts prompts\n" in printed
    words = " ".join(printed.split())
    assert "3 memorized and 2 other prompts, 2 pictures each, 2 steps, guidance 7.5" in words
    assert "Drawn from the 3 of 4 memorized prompts with a training picture" in words
    for name in ("table.md", "table.tex", "table.csv", "more.md"):
        assert (folder / name).stat().st_size > 200, name
    # Without a measure of fidelity nothing can be matched.
    assert {file.name for file in (folder / "figures").iterdir()} == {
        "prompts-sheet.png",
        "prompts-sheet.svg",
    }
    assert "At matched fidelity" not in printed
    text = (folder / "README.md").read_text()
    assert (folder / "table.md").read_text().partition("\n\n")[0] in text
    assert "(figures/prompts-sheet.png)" in text and "(report.html)" in text
    assert "anisomem mitigate experiment=mitigation_testbed " in text
    page = (folder / "report.html").read_text()
    assert "<h1>Mitigations: " in page and page.count('<img src="data:image/png') == 1

    def forbidden(*_, **__):
        raise AssertionError("a finished run loads no model")

    monkeypatch.setattr(DiffusersUNet, "load", forbidden)
    assert main(command) == 0
    assert capsys.readouterr().out == printed


def test_dry_run_counts_and_writes_nothing(command, capsys, tmp_path):
    assert main([*command, "dry_run=true"]) == 0
    printed = capsys.readouterr().out
    # Four memorized and two other prompts, two pictures, seven settings; two steps and scores.
    assert f"| {6 * 2 * 7} " in printed
    assert f"| {6 * 2 * 7 * (2 * 2 + 20):,} " in printed
    # Wen's 1 + 2 and 1 + 4 evaluations; anisotropy's 2 + 2 * 11 after 4 of detection.
    assert f"| {12 * (3 + 5 + 4 + 24):,} " in printed and f"| {12 * (1 + 3 + 20)} " in printed
    assert not (tmp_path / "runs").exists()


def test_dry_run_refuses_a_mitigation_that_the_model_does_not_allow(capsys, tmp_path):
    command = ["mitigate", "model=testbed_flow", "dataset=testbed_flow", "mitigation=[wen,ren]"]
    assert main([*command, f"runs={tmp_path}", "dry_run=true"]) == 2
    out, error = capsys.readouterr()
    assert not out
    (line,) = (line for line in error.splitlines() if "load" not in line)
    assert "ren" in line


class Made(Measure):
    """Numbers that are given."""

    of_copies = False

    @property
    def statistics(self):
        return (
            Statistic("copied", "copying", "copied", mean),
            Statistic("kept", "fidelity", "kept", mean),
        )

    def __call__(self, generated):
        raise NotImplementedError


@pytest.fixture
def results(compose, monkeypatch):
    """Settings whose copying and fidelity are a function of their place."""
    trial = Trial(compose("measure=[moved]", "draws=1000"), "made")
    trial.measures = [Made("made")]
    n, settings = len(trial.prompts), len(trial.settings)
    found = {
        "copied": np.linspace(1, 0, settings)[:, None, None] * np.ones((settings, n, 2)),
        "kept": np.linspace(1, 0.4, settings)[:, None, None] * np.ones((settings, n, 2)),
    }
    found["copied"][3] = 0.9  # gated

    def stored(self, frame, columns, rows):
        plain = np.ones((settings, n, 2))
        return {name: found.get(name, plain)[:, rows] for name in columns}

    monkeypatch.setattr(TradeoffResults, "_stored", stored)
    monkeypatch.setattr(Trial, "measured", lambda *_: trial.sampled)
    trial.sampled.append(
        [trial.key(s, i) for s in trial.settings for i in range(n)],
        3,
        dict.fromkeys(COLUMNS, np.ones((settings * n, 2))),
        1.0,
        Origin(1, "cpu", None, None),
    )
    return TradeoffResults(trial)


def test_matched_fidelity_by_hand(results):
    # none 1 / 1, wen 5/6 / .9 and 4/6 / .8: 10% lost is the first, 15% half way.
    found = results.matched(0.15)
    values = dict(zip(found.names, found.estimates.values, strict=True))
    assert values["wen"] == pytest.approx(0.75)
    assert values["anisotropy_on_detection"] == pytest.approx(1 - 0.1 * 0.5)  # .7 / .9, half way
    a, b = found.names.index("wen"), found.names.index("anisotropy_on_detection")
    difference = found.difference(a, b)
    assert difference.difference == pytest.approx(-0.2) and difference.interval.high < 0
    # two effective clusters separate nothing, and as many as sixty would
    more = replace(found, estimates=replace(found.estimates, units=60.0))
    for one, verdict in ((found, "not separable"), (more, "better")):
        table = report.pairs_table(results, one, results.primary("copying"))
        row = next(r for r in table.rows if r[:2] == ["wen", "anisotropy_on_detection"])
        assert row[4] == verdict
    chosen = {name: s.strength for name, s in results.chosen(0.1).items()}
    assert chosen["wen"] == "steps 1" and chosen["random_tokens"] == "count 1"


def test_what_is_written_with_measures_of_both(results, tmp_path, rendered):
    for i, setting in enumerate(results.settings):
        for row in results.rows:
            results.trial.keep(setting, row, np.full((2, 8, 8, 3), 30 * i, np.uint8))
    printed = report.write([results], tmp_path)
    assert "At matched fidelity" in printed and "| none " in printed
    assert "Pairs on prompts" in (tmp_path / "more.md").read_text()
    assert (tmp_path / "more" / "at-matched-fidelity.csv").exists()
    for name in ("tradeoff.png", "tradeoff.svg", "sheet.png", "sheet.svg"):
        assert (tmp_path / "figures" / f"prompts-{name}").stat().st_size > 5_000


def test_smaller_may_be_more_copying(results, monkeypatch):
    statistics = (
        Statistic("distance", "copying", "copied", lambda v: 1 - mean(v), smaller=True),
        Statistic("away", "fidelity", "kept", lambda v: 2 - mean(v), smaller=True),
    )
    expected = results.matched(0.1).estimates.values
    monkeypatch.setattr(Made, "statistics", property(lambda self: statistics))
    del results.statistics, results._compared
    np.testing.assert_allclose(1 - results.matched(0.1).estimates.values, expected)


def test_failed_prompts_are_left_out_everywhere(command, capsys, monkeypatch):
    decode = DiffusersUNet.sample

    def broken(self, x, conditioning, *more):
        latents = decode(self, x, conditioning, *more)
        lengths = conditioning.tensors["end"]
        return torch.where((lengths == lengths.max())[:, None, None, None], torch.nan, latents)

    monkeypatch.setattr(DiffusersUNet, "sample", broken)
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "latents is NaN" in error and "on_failure=keep" in error and error.count("\n") == 1
    monkeypatch.undo()
    assert main([*command, "on_failure=retry"]) == 0
    assert "left out" not in capsys.readouterr().out


def test_as_many_draws_are_taken_as_the_pairs_need(results):
    assert sufficient_draws(100, methods=4, units=1e9) == 480  # 4 * 6 / 0.05
    assert sufficient_draws(1000, methods=4, units=1e9) == 1000
    assert sufficient_draws(100, methods=4, units=2) == 100
    assert sufficient_draws(100, methods=1, units=1e9) == 100  # nothing to compare
    found, copying = results.matched(0.15), results.primary("copying")
    few = report.pairs_table(results, found, copying)
    assert "2 effective clusters can hardly separate anything, whatever draws" in few.notes[-1]


def test_random_weights_are_refused(command, capsys):
    assert main([*command, "weights=random"]) == 2
    assert "weights=random is for anisomem bench" in capsys.readouterr().err
