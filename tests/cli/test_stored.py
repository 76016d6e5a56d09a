"""A stored configuration is data: what it names is not run unless it is known or allowed."""

import shutil
import sys

import pytest
import yaml

from anisomem.benchmark.case import Case
from anisomem.cli.main import main
from anisomem.errors import UserError
from anisomem.run import stored

FINISHED = []  # one run for all tests here, each of which changes a copy


@pytest.fixture
def run(setting, tmp_path, monkeypatch):
    """A finished run, and a way to change its configuration."""
    monkeypatch.chdir(tmp_path)
    if not FINISHED:
        assert main(["run", *setting, "detector=[random,wen]"]) == 0
        FINISHED.append(tmp_path / "runs")
    shutil.copytree(FINISHED[0], tmp_path / "got")
    (file,) = (tmp_path / "got").glob("*/*/config.yaml")

    def change(edit):
        config = yaml.safe_load(file.read_text())
        edit(config)
        file.write_text(yaml.safe_dump(config))
        return file

    return change


def strange(path, value):
    """Sets what stands at a dotted path."""

    def edit(config):
        *parents, last = path.split(".")
        for name in parents:
            config = config[name]
        config[last] = value

    return edit


WRITES = {
    "_target_": "pathlib.Path.write_text",
    "_args_": [{"_target_": "pathlib.Path", "_args_": ["marker"]}, "x"],
}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (strange("dataset", WRITES), "pathlib.Path"),
        (strange("model", WRITES), "pathlib.Path"),
        (strange("detector.wen", WRITES), "pathlib.Path"),
        (strange("logger", WRITES), "pathlib.Path"),
        (strange("measure", {"m": WRITES}), "pathlib.Path"),
        (strange("mitigation", {"m": WRITES}), "pathlib.Path"),
        (strange("trial", WRITES), "pathlib.Path"),
        (strange("detector.wen._target_", "evil.Evil"), "'evil.Evil' as detector"),
        (
            strange("detector.wen._target_", "anisomem.baselines.wen.np.save"),
            "anisomem.baselines.wen.np.save",
        ),
        (strange("detector.wen._target_", "anisomem.cli.main.main"), "anisomem.cli.main.main"),
        (strange("dataset._target_", "anisomem.cli.main.main"), "anisomem.cli.main.main"),
        (strange("dataset.path", {"_target_": "evil.path"}), "evil.path"),
        (strange("detector.wen.steps", {"_target_": "evil.path"}), "evil.path"),
        (strange("detector.wen._args_", [1]), "'_args_'"),
        (strange("detector.wen._partial_", True), "'_partial_'"),
        (strange("detector.wen._recursive_", True), "'_recursive_'"),
        (strange("detector.wen.members", ["evil"]), "'evil'"),
        (strange("dataset.name", "${oc.env:HOME}"), "oc.env:HOME"),
        (strange("dataset.name", "x${oc.decode:'1'}"), "oc.decode"),
        (strange("dataset.path", "${testbed:../../..}"), "testbed:../"),
        (strange("dataset.name", "${oc.create:${oc.env:HOME}}"), "oc.create"),
        (strange("runs", "${hydra:runtime.cwd}"), "hydra:runtime"),
    ],
)
def test_what_it_names_is_not_run(run, tmp_path, monkeypatch, capsys, edit, expected):
    (tmp_path / "evil.py").write_text("open('marker', 'w')\n")
    (tmp_path / "conf/detector").mkdir(parents=True)
    (tmp_path / "conf/detector/evil.yaml").write_text("evil:\n  _target_: evil.Evil\n")
    file = run(edit)
    capsys.readouterr()
    commands = [
        ["table", str(file.parent)],
        ["compare", "wen", "random", "--in", str(file.parent)],
        ["export-released", str(file.parent), "--out", str(tmp_path / "out")],
    ]
    for command in commands:
        assert main(command) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and expected in error
    assert "evil" not in sys.modules and not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1]\nb: *a\n",
        "[" * 5000,
        "!!python/object/apply:os.system ['true']",
        "model: {}\ndataset: {}\n",
        "x: " + "y" * 2_000_000,
        "- a",
        "",
    ],
)
def test_what_no_run_writes_is_damaged(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match="is damaged; run the same command again"):
        stored.read(file)


def test_what_the_command_allows_is_read(run, tmp_path):
    (tmp_path / "theirs.py").write_text(
        "from anisomem.baselines.wen import WenNorm\nclass Theirs(WenNorm):\n    pass\n"
    )
    file = run(strange("detector.wen._target_", "theirs.Theirs"))
    with pytest.raises(UserError, match=r"add --allow theirs\.Theirs"):
        stored.read(file)
    assert stored.read(file, ["theirs.Theirs"]).detector["wen"]["_target_"] == "theirs.Theirs"
    (tmp_path / "conf/detector").mkdir(parents=True)
    (tmp_path / "conf/detector/own.yaml").write_text("own:\n  _target_: theirs.Theirs\n")
    assert stored.read(file, ["own"])  # by the name that the user's own file gives
    allowed = "no detector or class to allow named"
    with pytest.raises(UserError, match=f"{allowed} 'oen'; did you mean 'own'"):
        stored.read(file, ["oen"])
    with pytest.raises(UserError, match=rf"{allowed} 'theirs'; did you mean 'theirs\.Theirs'"):
        stored.read(file, ["theirs"])  # the module of it
    with pytest.raises(UserError, match=rf"{allowed} 'zeroed'; known: own, theirs\.Theirs"):
        stored.read(file, ["zeroed"])  # neither is near, nor is one that is built in


def test_a_class_of_ours_under_any_name_is_read(run):
    file = run(strange("detector.wen._target_", "anisomem.baselines.wen.SquaredNorm"))
    assert stored.read(file)


def test_more_samples_than_were_recorded_are_refused(run):
    file = run(strange("detector.wen.n", [1, 8]))
    with pytest.raises(UserError, match=r"holds 4 noise samples of wen/norm.*asks for 8"):
        Case.stored(file)
