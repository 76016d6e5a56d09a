"""Tables of finished runs, one or several."""

import csv
import json
import os
import shutil

from anisomem.cli.main import main


def test_tables_of_other_settings_are_told_apart(finished, tmp_path, capsys):
    assert main(["run", *finished, "seeds=[7]"]) == 0
    capsys.readouterr()
    folder = tmp_path / "runs" / "quickstart"
    assert main(["table", str(folder)]) == 0
    out = capsys.readouterr().out
    assert len({line for line in out.splitlines() if line.startswith("model ")}) == 2
    merged = tmp_path / "merged"
    assert main(["table", str(folder), "--out", str(merged)]) == 0
    assert capsys.readouterr().out == out
    assert len(json.loads((merged / "table.json").read_text())["cases"]) == 2
    assert len(list(merged.glob("roc-*.svg"))) == 2 and (merged / "report.html").exists()
    assert main(["run", *finished, "seeds=[8]", "fpr_targets=[0.2]"]) == 0
    assert main(["table", str(folder)]) == 2
    assert "one table needs equal fpr_targets" in capsys.readouterr().err


def test_a_table_needs_the_run_alone(finished, tmp_path, capsys, write_prompts):
    assert main(["run", *finished]) == 0
    table = capsys.readouterr().out.split("Report:")[0]
    run, file = tmp_path / "runs" / "quickstart", tmp_path / "prompts.parquet"
    write_prompts(file, prompt=[f"owl {i}" for i in range(24)])
    assert main(["table", str(run)]) == 0 and capsys.readouterr().out == table
    file.unlink()
    assert main(["table", str(run)]) == 0 and capsys.readouterr().out == table

    # What the run keeps is verified; without it the table needs the file that the run was of.
    (kept,) = run.glob("*/prompts.parquet")
    content = kept.read_bytes()
    kept.write_bytes(content.replace(b"red cat", b"red cow"))
    assert main(["table", str(run)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    kept.unlink()
    assert main(["table", str(run)]) == 2
    assert "no prompt file at" in capsys.readouterr().err
    write_prompts(file, prompt=[f"owl {i}" for i in range(24)])
    assert main(["table", str(run)]) == 2
    assert "was recorded on other prompts than dataset 'prompts' now holds" in (
        capsys.readouterr().err
    )


def test_models_on_the_same_prompts_are_told_apart(setting, tmp_path, capsys, save_pipeline):
    other = save_pipeline(seed=3)
    both = [o for o in setting if not o.startswith("model.path=")]
    paths = [o for o in setting if o.startswith("model.path=")] + [f"model.path={other}"]
    chosen = '"model=diffusers_folder","dataset=prompts_file"'
    cases = ",".join(f'[{chosen},"{path}"]' for path in paths)
    assert main(["run", *both, "detector=[wen]", f"cases=[{cases}]"]) == 0
    out = capsys.readouterr().out
    assert len({line for line in out.splitlines() if line.startswith("model ")}) == 2
    assert len(list((tmp_path / "runs" / "quickstart").glob("roc-*.png"))) == 2


def test_a_run_given_twice_is_shown_once(setting, tmp_path, capsys):
    assert main(["run", *setting, "detector=[random]"]) == 0
    once = capsys.readouterr().out.split("Report:")[0]
    run = str(tmp_path / "runs" / "quickstart")
    assert main(["table", run, run]) == 0
    assert capsys.readouterr().out == once


def test_table_of_an_unfinished_run(setting, tmp_path, capsys):
    assert main(["table", str(tmp_path)]) == 2
    assert "no run at" in capsys.readouterr().err
    assert main(["run", *setting]) == 0
    capsys.readouterr()
    next((tmp_path / "runs").glob("*/*/components/*.parquet")).unlink()
    assert main(["table", str(tmp_path / "runs" / "quickstart")]) == 2
    assert "run the same command again" in capsys.readouterr().err


def test_a_run_from_before_a_setting_existed_has_its_default(finished, tmp_path, capsys):
    run = tmp_path / "runs" / "quickstart"
    assert main(["table", str(run)]) == 0
    table = capsys.readouterr().out
    (stored,) = run.glob("*/config.yaml")
    lines = stored.read_text().splitlines()
    stored.write_text("\n".join(line for line in lines if not line.startswith("tensors")))
    assert main(["table", str(run)]) == 0
    assert capsys.readouterr().out == table


def test_a_detector_without_a_score_and_a_control_that_tells_all_are_said(
    setting, tmp_path, capsys, write_prompts
):
    # Words of one letter are no vocabulary, and memorized prompts are the longer ones.
    texts = [("a b c " if i % 4 < 2 else "a ") + "de"[i % 2] for i in range(24)]
    write_prompts(tmp_path / "prompts.parquet", prompt=texts)
    detectors = "detector=[wen,text_only,prompt_length]"
    assert main(["run", *setting, detectors]) == 0
    printed = capsys.readouterr()
    assert "text_only" in printed.out and "not scored" in printed.out
    assert "text_only: not scored, empty vocabulary" in printed.out
    warnings = [li for li in printed.err.splitlines() if li.startswith("anisomem: warning: ")]
    assert "text_only is not scored: empty vocabulary" in warnings[0]
    assert "prompt_length, which never sees the model, has an AUC of 1.000" in warnings[1]
    assert len(warnings) == 2

    run = tmp_path / "runs" / "quickstart"
    with (run / "table.csv").open() as file:
        lines = {line["detector"]: line for line in csv.DictReader(file)}
    wen, text, length = (lines[name] for name in ("wen", "text_only", "prompt_length"))
    assert text["auc"] == text["auc_low"] == "" and "empty vocabulary" in text["auc_note"]
    assert length["auc"] == "1.0" and float(wen["auc"]) > 0
    assert (length["levels"], length["largest_tie"]) == ("2", "0.5")
    page = (run / "report.html").read_text()
    assert page.index("which never sees the model") < page.index("Contents")

    assert main(["compare", "wen", "text_only", "--in", str(run)]) == 2
    assert "text_only cannot be scored on prompts: empty" in capsys.readouterr().err
    assert main(["compare", "wen", "prompt_length", "--in", str(run)]) == 0
    assert main(["run", *setting, "detector=[text_only]"]) == 2
    assert "no detector can be scored on these prompts (text_only:" in capsys.readouterr().err


def damage(run, name):
    """Makes a run unreadable in one of the ways that are met."""
    if name == "half-written":
        (run / "config.yaml").unlink()
    elif name == "incomplete":
        for shard in (run / "components").glob("*.parquet"):
            shard.unlink()
    elif name == "stranger":
        text = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(text.replace("baselines.wen.WenNorm", "x.Y", 1))
    elif name == "pipe":
        (run / "config.yaml").unlink()
        os.mkfifo(run / "config.yaml")
    elif name == "link":
        (run / "measured.json").unlink()
        (run / "measured.json").symlink_to("nowhere")
    else:
        (run / name).write_text("{")


DAMAGES = ["half-written", "incomplete", "stranger", "pipe", "link", "config.yaml"]
DAMAGES += ["measured.json", "prompts.parquet", "components/identity.json"]


def test_a_run_that_cannot_be_read_is_a_line_and_costs_no_other(finished, tmp_path, capsys):
    assert main(["run", *finished]) == 0
    table = capsys.readouterr().out.split("Report:")[0]
    (one,) = (file.parent for file in (tmp_path / "runs" / "quickstart").glob("*/config.yaml"))
    assert main(["table", str(tmp_path / "runs")]) == 2
    assert f"; give {tmp_path / 'runs' / 'quickstart'}\n" in capsys.readouterr().err
    for name in DAMAGES:
        folder = tmp_path / "damaged" / name.replace("/", "-")
        sound, other = folder / one.name, folder / "a-bad"
        for copy in (sound, other):
            shutil.copytree(one, copy)
        damage(other, name)
        assert main(["table", str(folder)]) == 0, name
        shown = capsys.readouterr()
        assert shown.out == table and shown.err.count("left out") == 1, name
        (line,) = (text for text in shown.err.splitlines() if "left out" in text)
        assert str(other) in line, name
        # Asked for by its name it is refused, whatever else is asked for.
        for runs in ([other], [folder, other], [other, folder]):
            assert main(["table", *map(str, runs)]) == 2, name
        shutil.rmtree(sound)
        assert main(["table", str(folder)]) == 2, name
        assert "left out" not in capsys.readouterr().err
