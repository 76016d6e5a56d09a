"""Code of the user's: where it is looked up, and that an edit of it is seen."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from anisomem.cli.main import main
from anisomem.config import compose, own
from anisomem.detection.configured import detectors

BIN = Path(sys.executable).parent
MINE = """
from dataclasses import dataclass
from anisomem.detection.base import Component, Detector, flat_norm
from anisomem.detection.needs import Conditional
from anisomem.detection.places import FIRST
{more}
@dataclass
class Mine(Detector):
    component_names = ("mine/x",)

    def components(self):
        compute = lambda first: {factor} * flat_norm(first.output)
        return [Component("mine/x", [Conditional(FIRST)], compute)]

    def combine(self, recorded):
        return recorded.mean("mine/x", self.n)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, whose modules are forgotten as by a new process when they change."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def write(factor, more="", **files):
        for name in set(sys.modules) - before:
            if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]
        (tmp_path / "mine.py").write_text(MINE.format(factor=factor, more=more))
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)

    yield write
    write(1)


def built():
    overrides = ["detector=[wen]", "+detector.mine._target_=mine.Mine"]
    return detectors(compose.cases(overrides)[0].detector)


def test_an_edited_detector_is_recorded_anew(setting, here, tmp_path, capsys):
    run = ["run", *setting, "detector=[wen]", "+detector.mine._target_=mine.Mine"]
    run += ["experiment=quickstart", "timing_repeats=0", "fpr_targets=[0.2]"]
    table = ["table", str(tmp_path / "runs" / "quickstart"), "--allow", "mine.Mine"]

    def auc():
        found = pd.read_csv(tmp_path / "runs" / "quickstart" / "table.csv").set_index("detector")
        return found.loc["mine", "auc"]

    here(1)
    assert main(run) == 0
    first = auc()
    shown = [line for line in capsys.readouterr().out.splitlines() if "| mine " in line]
    assert main(table) == 0
    assert [li for li in capsys.readouterr().out.splitlines() if "| mine " in li] == shown

    here(-1)
    assert main(table) == 2
    error = capsys.readouterr().err
    assert "was recorded with another mine.Mine than there is now" in error
    assert main(run) == 0
    printed = capsys.readouterr()
    assert "mine.Mine has changed since" in printed.err and "recorded anew in" in printed.err
    assert auc() == pytest.approx(1 - first)
    assert main(table) == 0  # of the new one; the old one is left out, which is said
    printed = capsys.readouterr()
    assert printed.out.count("| mine ") == 1 and "anisomem: left out: " in printed.err


def test_a_digest_is_of_the_module_and_of_what_it_imports_from_beside_it(here, tmp_path):
    more = "import helper\nimport os"
    found = []
    for factor, text in ((1, "x = 1"), (1, "x = 2"), (2, "x = 2"), (2, "x = 2")):
        here(factor, more, helper=text)
        found.append(own.sources(built()))
        assert list(found[-1]) == ["mine.Mine"]  # ours have versions
    digests = [one["mine.Mine"] for one in found]
    assert len(set(digests)) == 3 and digests[2] == digests[3]
    (tmp_path / "other.py").write_text("y = 1")  # nobody imports it
    assert own.sources(built()) == found[-1]


def test_what_a_stack_holds_is_looked_at_too(here, tmp_path):
    here(1)
    overrides = ["detector=[stack]", "detector.stack.members=[wen,mine]"]
    overrides += ["+detector.mine._target_=mine.Mine"]
    stack = detectors(compose.cases(overrides)[0].detector)[0]
    assert list(own.sources([stack])) == ["mine.Mine"]


def test_built_in_classes_leave_identities_as_they_were():
    chosen = detectors(compose.cases(["detector=[wen,stack,jeon]"])[0].detector)
    assert own.sources(chosen, ["anisomem.models.families.load"]) == {}


def test_a_class_without_a_file_is_refused():
    from anisomem.errors import UserError

    made = type("Made", (), {"__module__": "nowhere_at_all"})
    sys.modules["nowhere_at_all"] = type(sys)("nowhere_at_all")
    try:
        with pytest.raises(UserError, match=r"the source of nowhere_at_all\.Made"):
            own.sources([made()])
    finally:
        del sys.modules["nowhere_at_all"]


def test_the_current_folder_is_importable_only_for_what_is_the_users(here, tmp_path):
    here(1)
    before = list(sys.path)
    with own.importable(["anisomem.baselines.wen.WenNorm", "anisomem.x"]):
        assert sys.path == before
    with own.importable(["mine.Mine"]):
        assert sys.path == [*before, str(tmp_path)]  # behind everything installed
    assert sys.path == before
    assert [d.key for d in built()][-1] == "mine, n=1"
    assert sys.path == before and not (tmp_path / "__pycache__").exists()


@pytest.mark.parametrize("command", [[BIN / "anisomem"], [sys.executable, "-m", "anisomem"]])
def test_no_file_here_stands_in_for_a_librarys_module(tmp_path, command):
    for name in ("attr", "attrs", "cupy", "xformers", "hydra_plugins", "hydra", "numpy", "yaml"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'a').write(__name__)\n")
    (tmp_path / "simplejson").mkdir()
    done = subprocess.run([*command, "list", "detectors"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["wen", "stpes=3"], "no setting of detector.wen named 'stpes'; did you mean 'steps'?"),
        (["mine.Mine", "frist=3"], "no setting of detector.mine named 'frist'"),
        (["mine.Asks"], "detector.asks: Asks needs weight"),
    ],
)
def test_a_wrong_setting_is_the_users_mistake_also_of_ones_own_class(here, capsys, words, said):
    asks = "\n\nclass Asks:\n    def __init__(self, name, weight, n=1):\n        pass\n"
    here(1, asks)
    assert main(["check-detector", *words]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint and complaint.count("\n") == 1
