"""What a user can get wrong is one line."""

import json

import pytest

from anisomem.cli.main import main


@pytest.mark.parametrize("content", ["", "{", "\x80", "[]", '"words"'])
@pytest.mark.parametrize("name", ["components/identity.json", "measured.json", "config.yaml"])
def test_damaged_files_of_a_run_are_one_line(finished, tmp_path, capsys, name, content):
    (file,) = (tmp_path / "runs").glob(f"quickstart/*/{name}")
    file.write_bytes(content.encode("latin1"))
    assert main(["table", str(tmp_path / "runs" / "quickstart")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(file) in error and "damaged" in error
    if name != "config.yaml":  # the run itself writes that anew
        file.unlink()
    assert main(["run", *finished]) == 0


def test_store_of_another_schema_version(finished, tmp_path, capsys, refused):
    (file,) = (tmp_path / "runs").glob("quickstart/*/components/identity.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 1}))
    moved = (tmp_path / "runs").rename(tmp_path / "moved")
    assert main(["table", str(moved / "quickstart")]) == 2
    assert "is of schema version 1, and this is 3" in capsys.readouterr().err
    moved.rename(tmp_path / "runs")
    assert "holds a run that differs in version" in refused(*finished)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "fdr=0.2"], "run does not read fdr; it is for anisomem scan"),
        (["run", "+scan.seed=3"], "run does not read +scan.seed; it is for anisomem scan"),
        (["multirun", "trial.steps=3,4"], "trial.steps; it is for anisomem demo, generate, mit"),
        (["run", "measure=[sscd]"], "read measure; it is for anisomem demo, mitigate, scan"),
        (["scan", "mine.txt", "strengths={}"], "scan does not read strengths; it is for anisomem"),
        (["bench", "dry_run=true"], "bench does not read dry_run; it is for anisomem geometry,"),
    ],
)
def test_a_setting_that_the_command_would_ignore_is_refused(words, said, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_wrong_settings_are_found_before_processes_start(setting, workers, refused):
    choices = [*setting, "detector=[anisotropy]", "detector.anisotropy.cos_at=step:60"]
    assert "outside the schedule" in refused(*choices, f"workers={workers}")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("experiment=quikstart", "did you mean 'quickstart'?"),
        ("detector=[wenn]", "did you mean 'wen'?"),
        ("model=testbed_epsilom", "did you mean 'testbed_epsilon'?"),
        ("sedes=[1]", "did you mean 'seeds'?"),
        ("weights=equal", "detector.NAME.weights=equal"),
        ("draws=many", "an integer from 100 to 1,000,000; got 'many'"),
        ("seeds=[one]", "'seeds=[42,51]'; got ['one']"),
        (
            "seeds=[]",
            "seeds must be distinct integers from 0 to 2**32 - 1, 'seeds=[42,51]'; got []",
        ),
        ("seeds=[42,42]", "distinct"),
        ("seeds=[-1]", "'seeds=[42,51]'; got [-1]"),
        ("fpr_targets=[]", "distinct fractions"),
        ("fpr_targets=[1%]", "for 1% and 3%; got ['1%']"),
        ("draws=0", "from 100 to 1,000,000; got 0"),
        ("draws=1000000000", "from 100 to 1,000,000"),
        ("seeds=[18446744073709551616]", "distinct integers from 0 to 2**32 - 1"),
        ("fpr_targets=[0.01,nan]", "distinct fractions"),
        ("detector.wen.n=1.5", "distinct positive integers, got 1.5"),
        ("detector.wen.n=null", "distinct positive integers, got None"),
        ("detector.wen.n=true", "distinct positive integers, got True"),
        ("detector.random.seed=abc", "must be an integer from 0, got 'abc'"),
        ("detector.anisotropy.weights=[nan,1]", "finite and not both 0"),
        ("workers=0", "from 1 to"),
        ("batch_size=0", "from 1 to"),
        ("timing_repeats=-1", "an integer from 0 to"),
        ("bootstrap_seed=-1", "an integer from 0 to"),
        ("detector=[]", "no detector chosen"),
        ("detector.wen.n=[]", "distinct positive integers, got []"),
        ("detector.wen.n=[4,4]", "distinct positive integers"),
        ("detector.wen.n=[0]", "positive integers"),
        ("model.device=gpu", "no device named 'gpu'"),
        ("model.device=cuda:7", "device 'cuda:7': "),
        ("mitigation=[wen]", "a run only detects"),
        ("mitigation=[sial]", "did you mean 'sail'?"),
        ("logger=wandbb", "did you mean 'wandb'?"),
        ("logger.mode=offline", "logger.mode is of a logger that is not chosen"),
        ("detector.jeon.steps=2", "detector.jeon.steps is of a detector that is not chosen"),
        ("runs=/proc/x", "cannot write /proc/x/"),
        ("detector.wen.samples=3", "no setting of detector.wen named 'samples'"),
        ("detector.wen.stpes=3", "did you mean 'steps'?"),
        ("model.dtyp=float16", "no setting of model named 'dtyp'; did you mean 'dtype'?"),
        ("detector.anisotropy.convention=relesed", "did you mean 'released'?"),
        ("detector.anisotropy.mode=x", "no mode named 'x'"),
        ("detector.anisotropy.cos_latents=gided", "did you mean 'guided'?"),
        ("detector.anisotropy={cos_latents:guided,cos_at:'t:40'}", "no step of a trajectory"),
        ("detector.anisotropy.weights=[1,2,3]", "two numbers"),
        ("detector.anisotropy.cos_at=step:60", "outside the schedule"),
        ("detector.anisotropy.cos_at=t:1000", "outside the schedule"),
        ("detector.anisotropy.cos_at=41", "step:INDEX or t:VALUE"),
        ("model.path=/nowhere", "no diffusers pipeline at '/nowhere'"),
        ("model.path=nowhere", "it is not here, and a repository is named OWNER/NAME"),
        ("model.dtype=float23", "did you mean 'float32'?"),
        ("model.stands_for=null", "weights=fitted"),
        ("noise_policy=share", "did you mean 'shared'?"),
        ("fpr_targets=[1]", "0.01"),
        ("dataset.path=/nowhere.parquet", "no prompt file at '/nowhere.parquet'"),
        ("on_failure=kepp", "did you mean 'keep'?"),
        ("draws", "name=value"),
    ],
)
def test_mistakes_are_one_line(setting, change, expected, refused):
    assert expected in refused(*setting, change)


@pytest.mark.parametrize(
    ("key", "mapping"),
    [
        ("model.path", []),
        ("references.prompts", ["references={prompts:''}"]),
        ("runs", []),
        ("paths.data", ["paths={data:''}"]),
        ("dataset.path", []),
    ],
)
def test_an_empty_path_is_not_the_current_folder(setting, key, mapping, refused):
    for words in ([f"{key}="], mapping):
        if words:
            assert f"{key} is empty; give a path" in refused(*setting, *words)


@pytest.mark.parametrize(
    "words", [["table", ""], ["compare", "wen", "x", "--out", ""], ["scores", "x", "--out", ""]]
)
def test_an_empty_argument_is_not_the_current_folder(words, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "empty; expected a path" in error and error.count("\n") == 1


@pytest.mark.parametrize("command", ["run", "mitigate", "geometry"])
def test_a_dry_run_needs_a_model_with_a_network(setting, command, capsys):
    words = [word for word in setting if word.startswith(("dataset", "model.stands_for"))]
    chosen = {"run": ["detector=[wen]"], "mitigate": ["mitigation=[wen]", "measure=[]"]}
    words += ["model=released_scores", "model.scores=abc", *chosen.get(command, [])]
    assert main([command, *words, "dry_run=true"]) == 2
    error = capsys.readouterr().err
    assert "no network to plan with" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"label": ["memorized"] * 24}, "no other prompts"),
        ({"label": ["maybe"] * 24}, "no label named 'maybe'"),
        ({"prompt": ["cat"] * 23 + [" "]}, "row 24: empty prompt"),
        ({"id": ["p"] * 24}, "row 2 repeats an id of"),
    ],
)
def test_bad_prompt_files_are_one_line(
    setting, tmp_path, changes, expected, write_prompts, refused
):
    write_prompts(tmp_path / "prompts.parquet", **changes)
    assert expected in refused(*setting)


def test_wandb_without_a_key(setting, tmp_path, monkeypatch, refused):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    message = refused(*setting, "logger=wandb")
    assert "wandb login" in message and "WANDB_API_KEY" in message
    assert not (tmp_path / "runs").exists()
