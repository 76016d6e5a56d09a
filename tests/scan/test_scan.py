"""The way of a scan: a file in, p-values and flags out, the same command again."""

import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from anisomem.cli.main import main
from anisomem.config import compose
from anisomem.evaluation import conformal
from anisomem.scan import tables
from anisomem.scan.command import with_prompts
from anisomem.scan.scan import Scan
from tests.scan.conftest import ORDINARY, PROMPTS, arguments, refused


def rows_of(run):
    return pq.read_table(run / "scan.parquet").to_pylist()


def test_every_row_that_was_read_is_there_in_order(run_of):
    rows = rows_of(run_of)
    assert [row["id"] for row in rows] == ["mine-1", "mine-2", "mine-4", "mine-5", "mine-6"]
    assert [row["prompt"] for row in rows] == [text for text in PROMPTS if text]
    assert [row["times"] for row in rows] == [2, 1, 2, 1, 1]
    first, again = rows[0], rows[2]
    assert {**first, "id": ""} == {**again, "id": ""}


def test_p_values_are_ranks_among_the_calibration(run_of):
    """Computed from the files alone, by a direct count."""
    calibration = pq.read_table(run_of / "calibration.parquet").to_pydict()
    assert calibration["prompt"] == ORDINARY
    ordinary = calibration["wen, n=1"]
    rows = {row["prompt"]: row for row in rows_of(run_of)}
    for row in rows.values():
        above = sum(value > row["wen, n=1"] for value in ordinary)
        assert row["p"] == (1 + above) / (1 + len(ordinary))
    p = np.array([row["p"] for row in rows.values()])
    np.testing.assert_allclose([row["q"] for row in rows.values()], conformal.q_values(p))
    assert [row["flagged"] for row in rows.values()] == (conformal.q_values(p) <= 0.9).tolist()


def test_the_second_stage_scores_the_highest_and_an_audit(run_of):
    rows = {row["prompt"]: row for row in rows_of(run_of)}
    # 0.3 of four prompts are two, and all of the rest are audited
    assert all(row["tiled_l2, n=4"] is not None for row in rows.values())
    (store,) = run_of.glob("confirmed-*")
    stored = {
        key for file in store.glob("*.parquet") for key in pq.read_table(file)[0].to_pylist()
    }
    assert len([key for key in stored if key.startswith("calibration:")]) == 12
    assert {key for key in stored if not key.startswith("c")} == {"0", "1", "2", "3"}


def test_what_confirms_by_other_code_is_recorded_anew(scanned, run_of, monkeypatch):
    words = [word for word in scanned[1][2:] if not word.startswith("runs=")]
    config = compose.cases(["experiment=scan", f"prompts={scanned[1][1]}", *words])[0]
    scan = Scan(config, "scan")
    as_recorded = scan.second([0]).store.folder.name
    assert (run_of / as_recorded).exists()

    def of_own_code(config, configured):
        return {f"mine.{one.name}": "0" for one in configured if one.name == "tiled_l2"}

    monkeypatch.setattr("anisomem.scan.scan.sources", of_own_code)
    assert scan.second([0]).store.folder.name != as_recorded


def test_the_page_is_whole_and_safe(run_of):
    page = (run_of / "scan.html").read_text()
    assert page.count('<tr class="flagged">') == sum(
        row["flagged"] for row in rows_of(run_of)
    ) - int(rows_of(run_of)[0]["flagged"])  # the repeated prompt once
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert page.count('alt="generated picture') == 3 * min(2, page.count('class="flagged"'))
    for what in ("Search prompts", "histogram of scores", "What the numbers mean", "Limits"):
        assert what in page
    assert "line 3: empty prompt" in page


def test_the_same_command_prints_the_same_and_loads_no_model(scanned, capsys, monkeypatch):
    monkeypatch.setattr("anisomem.run.sharing.loaded", lambda *_: pytest.fail("loads a model"))
    assert main(scanned[1]) == 0
    first = capsys.readouterr().out
    assert main(scanned[1]) == 0
    assert capsys.readouterr().out == first
    assert "| rows read" in first and "scan.html" in first
    assert max(map(len, first.splitlines()[:-1])) <= 100


def test_another_rate_or_share_records_nothing_of_the_first_stage_again(scanned, tmp_path, capsys):
    folder, words = scanned
    shutil.copytree(folder / "runs", tmp_path / "runs")
    before = sorted(tmp_path.glob("runs/scan/*/components/*"))
    other = [w for w in words if not w.startswith(("runs=", "fdr="))]
    assert main([*other, "fdr=0.5", f"runs={tmp_path / 'runs'}"]) == 0
    assert sorted(tmp_path.glob("runs/scan/*/components/*")) == before
    assert "at a false-discovery rate of 50%" in capsys.readouterr().out.replace("\n", " ")


def test_what_is_known_is_said_beforehand(save_pipeline, tmp_path, capsys):
    words = arguments(save_pipeline(), tmp_path, "dry_run=true", "fpr_targets=[0.01]", "fdr=0.05")
    (tmp_path / "mine.txt").unlink()
    words[1] = str(tmp_path / "mine.csv")
    (tmp_path / "mine.csv").write_text("prompt,label\nDog  40,1\nred,0\n,1\n")
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "1 of 3 rows cannot be read and are not scanned, first" in err
    assert "has labels, which a scan does not read; anisomem run dataset=prompts_file" in err
    assert "1 prompts of the calibration are scanned too and left out of it" in err
    # 29 ordinary prompts: one p-value is 1/30 or more, and two at 0.05 need 0.05
    assert "at fdr=0.05 either 2 of 2 prompts or more are flagged, or none" in err
    assert "calibration=FILE with 39 ordinary prompts can flag a single one" in err
    assert "no threshold at a false-positive rate of 1%, which needs 99" in err
    assert "| nothing" in out and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["fdr=0.01"], "by which nothing can be flagged at fdr=0.01; that needs 99 or more"),
        (["fdr=1e-300"], "fdr=1e-300; that needs 1e+30"),
        (["fdr=1"], "fdr must be a fraction between 0 and 1"),
        (["scan.share=0"], "scan.share must be a fraction above 0"),
        (["detector=[text_only]"], "text_only does not score a prompt on its own"),
        (["detector=[broken_memories]"], "broken_memories does not score a prompt on its own"),
        (["detector=[]"], "no detector chosen"),
        (["dataset=sd14_webster500"], "give prompts=sd14_webster500"),
        (["tensors=[a]"], "a scan keeps no tensors"),
        (["scan.shares=1"], "did you mean 'share'?"),
        (["calibration=nothing.txt"], "no prompt file at 'nothing.txt'"),
        (["weights=random"], "scores need weights=pretrained"),
        (["model.path=null"], "model"),
        (["mitigation=[wen]"], "a run only detects"),
        (["detector=[earlier_checkpoint]"], "give baseline_model.path=FOLDER"),
    ],
)
def test_mistakes_are_one_line(save_pipeline, tmp_path, capsys, more, said):
    assert said in refused(capsys, *arguments(save_pipeline(), tmp_path, *more))
    assert not list(tmp_path.glob("runs/scan/*/components"))


def test_an_audit_too_small_for_a_threshold_is_said_beforehand(save_pipeline, tmp_path, capsys):
    more = ("detector=[wen,tiled_l2]", "scan.audit=9", "dry_run=true", "fdr=0.5")
    words = arguments(save_pipeline(), tmp_path, *more, "fpr_targets=[0.05]")
    assert main(words) == 0
    assert "scan.audit=19 does" in capsys.readouterr().err


def test_what_is_confirmed_is_counted_from_the_files(scanned, run_of, capsys):
    """The threshold of the second stage is the k-th largest of its calibration, k = 1 of 12."""
    assert main(scanned[1]) == 0
    out = capsys.readouterr().out
    rows = {row["prompt"]: row for row in rows_of(run_of)}
    (store,) = run_of.glob("confirmed-*")
    (file,) = store.glob("*.parquet")
    frame = pq.read_table(file).to_pandas()
    # What compares the n first samples stands at the last of them.
    last = frame[frame["sample"] == 3].set_index("prompt_id")
    name = frame.columns[-1]  # the one component
    calibrating = [key for key in last.index if key.startswith("calibration")]
    bound = -last[name][calibrating].min()
    ranked = sorted(rows.values(), key=lambda row: (row["p"], -row["wen, n=1"]))[:2]
    above = sum(row["tiled_l2, n=4"] > bound for row in ranked)
    assert f"| {above} of 2 " in out
    others = [row for row in rows.values() if row not in ranked]
    missed = sum(row["tiled_l2, n=4"] > bound for row in others)
    assert f"| {missed} of 2 " in out and "of the other 2 (95%); by chance 10%" in out


def test_a_calibration_that_is_the_scan_is_refused(save_pipeline, tmp_path, capsys):
    words = arguments(save_pipeline(), tmp_path)
    words[4] = f"calibration={words[1]}"
    assert "are scanned too; give calibration=FILE" in refused(capsys, *words)


def test_a_column_is_named_on_the_command_line(save_pipeline, tmp_path, capsys):
    words = arguments(save_pipeline(), tmp_path, "dry_run=true")
    words[1] = str(tmp_path / "mine.csv")
    (tmp_path / "mine.csv").write_text("key,caption,text\n1,one,two\n2,three,four\n")
    assert "scan.columns.prompt=caption names one" in refused(capsys, *words)
    assert main([*words, "scan.columns.prompt=text", "scan.columns.id=key"]) == 0
    assert "no column named 'words'" in refused(capsys, *words, "scan.columns.prompt=words")
    assert "prompt" in refused(capsys, *words, "scan.columns.prompts=text")


def test_what_is_finished_is_printed_from_a_folder_that_may_only_be_read(
    scanned, capsys, monkeypatch
):
    from anisomem.storage import atomic

    def forbid(path, fill):
        raise atomic.CannotWriteError(f"cannot write {path}", 30)

    monkeypatch.setattr(atomic, "write", forbid)
    assert main(scanned[1]) == 0
    shown = capsys.readouterr()
    assert "| flagged" in shown.out and "its files are as they were" in shown.err


def test_nothing_to_scan_says_what_to_type(capsys):
    assert "anisomem scan FILE" in refused(capsys, "scan")


def test_a_word_that_is_a_path_names_the_prompts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert with_prompts(["a.txt", "fdr=0.2"]) == ["prompts=a.txt", "fdr=0.2"]
    assert with_prompts(["folder"]) == ["prompts=folder"]
    assert with_prompts(["gustavosta"]) == ["prompts=gustavosta"]
    assert with_prompts(["fdr"]) == ["fdr"]


def test_several_places_are_refused(capsys):
    assert "a scan reads one place" in refused(capsys, "scan", "a.txt", "b.txt")


def test_a_limit_draws_prompts_and_keeps_their_noise(save_pipeline, tmp_path, capsys):
    """Noise by prompt is that of its place in the file, whatever a limit leaves."""
    words = arguments(save_pipeline(), tmp_path, "noise_policy=per_prompt", "detector=[wen]")
    assert main(words) == 0
    assert main([*words, "limit=4", f"runs={tmp_path / 'all'}"]) == 0  # all there are
    (tmp_path / "mine.txt").write_text("".join(f"{i} dog\n" for i in range(8)))
    assert main([*words, f"runs={tmp_path / 'whole'}"]) == 0
    assert main([*words, "limit=5", f"runs={tmp_path / 'part'}"]) == 0
    assert "limit=5 leaves 3 prompts out of the scan" in capsys.readouterr().err
    whole, part = (
        rows_of(next((tmp_path / name / "scan").iterdir())) for name in ("whole", "part")
    )
    scores = {row["id"]: row["wen, n=1"] for row in whole}
    assert len(part) == 5
    for row in part:
        assert row["wen, n=1"] == pytest.approx(scores[row["id"]], rel=1e-4)


def test_prompts_that_the_model_fails_on_end_in_1_and_are_listed(
    save_pipeline, tmp_path, capsys, monkeypatch
):
    from anisomem.engine.engine import Engine

    evaluate = Engine.evaluate

    def failing(self, texts, *more):
        components = evaluate(self, texts, *more)
        for values in components.values():
            values[[text == "dog 2" for text in texts]] = np.nan
        return components

    monkeypatch.setattr(Engine, "evaluate", failing)
    words = arguments(save_pipeline(), tmp_path, "detector=[wen]")
    assert main(words) == 1
    assert "1 of 4 prompts failed, first 'dog 2'" in capsys.readouterr().err
    assert main([*words, "on_failure=keep"]) == 0
    rows = {row["prompt"]: row for row in rows_of(next((tmp_path / "runs" / "scan").iterdir()))}
    assert "is NaN" in rows["dog 2"]["failure"] and rows["dog 2"]["p"] is None
    assert rows["red 4"]["failure"] is None and rows["red 4"]["p"] is not None
    monkeypatch.setattr(Engine, "evaluate", evaluate)
    assert main([*words, "on_failure=retry"]) == 0
    rows = {row["prompt"]: row for row in rows_of(next((tmp_path / "runs" / "scan").iterdir()))}
    assert rows["dog 2"]["p"] is not None


def test_ordinary_prompts_that_the_model_fails_on_are_counted(
    save_pipeline, tmp_path, capsys, monkeypatch
):
    from anisomem.engine.engine import Engine

    evaluate = Engine.evaluate

    def failing(self, texts, *more):
        components = evaluate(self, texts, *more)
        for values in components.values():
            values[[text in ORDINARY[:2] for text in texts]] = np.inf
        return components

    monkeypatch.setattr(Engine, "evaluate", failing)
    assert main(arguments(save_pipeline(), tmp_path, "detector=[wen]")) == 0
    out = capsys.readouterr().out
    assert "| ordinary prompts | 28 " in out and "| ordinary, failed | 2 " in out


def test_the_stored_settings_are_read_back(run_of):
    from anisomem.run import stored

    config = stored.read(run_of / "config.yaml")
    assert config.prompts and config.scan.audit == 12
    assert json.loads((run_of / "measured.json").read_text())["device"]


def test_a_scan_is_no_run_to_be_tabled(run_of, capsys):
    assert "is a scan of prompts without labels" in refused(capsys, "table", str(run_of))


def test_an_interrupted_scan_continues_with_what_is_missing(
    save_pipeline, tmp_path, capsys, monkeypatch
):
    from anisomem.benchmark import record
    from anisomem.engine.engine import Engine

    words = arguments(save_pipeline(), tmp_path, "detector=[wen]")
    (tmp_path / "mine.txt").write_text("".join(f"red {i}\n" for i in range(40)))
    keep, kept = record.keep, []

    def interrupted(entries, batch, recorded):
        if kept:
            raise KeyboardInterrupt
        kept.append(batch)
        return keep(entries, batch, recorded)

    monkeypatch.setattr(record, "keep", interrupted)
    assert main(words) == 130
    monkeypatch.setattr(record, "keep", keep)
    evaluate, evaluated = Engine.evaluate, []

    def counted(self, texts, *more):
        evaluated.extend(texts)
        return evaluate(self, texts, *more)

    monkeypatch.setattr(Engine, "evaluate", counted)
    assert main(words) == 0
    assert len(evaluated) == 40 + len(ORDINARY) - len(kept[0].ids)
    assert main([*words, f"runs={tmp_path / 'at once'}"]) == 0
    parts, whole = (rows_of(next(tmp_path.glob(f"{name}/scan/*"))) for name in ("runs", "at once"))
    assert parts == whole


def test_of_many_prompts_the_highest_are_compared_with_each_other(scanned, run_of, monkeypatch):
    from anisomem.config import compose
    from anisomem.scan import written
    from anisomem.scan.found import Found
    from anisomem.scan.scan import Scan

    words = with_prompts(scanned[1][1:])
    found = Found(Scan(compose.cases(["experiment=scan", *words])[0], "scan"))
    assert found.scan.folder == run_of
    assert (written.clusters_of(found) >= 0).all()
    monkeypatch.setattr(written, "CLUSTERED", 3)
    compared = np.flatnonzero(written.clusters_of(found) >= 0)
    assert sorted(found.order[:3]) == compared.tolist()


@pytest.mark.parametrize(
    ("q", "shown"), [(0.10285, "0.103"), (0.1, "0.1"), (0.0523, "0.052"), (0.0996, "0.1")]
)
def test_a_q_is_shown_on_its_side_of_the_rate(q, shown):
    text = tables._beside(q, 0.1)
    assert text == shown and (float(text) <= 0.1) == (q <= 0.1)
