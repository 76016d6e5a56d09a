"""Detectors of a user's own: of a file here, of an installed package, of neither."""

import subprocess
import sys

import pytest

from anisomem.cli.main import main
from anisomem.config import catalog, compose, registry
from anisomem.detection.base import Detector
from anisomem.detection.configured import detectors, named
from anisomem.errors import UserError

MODULE = '''
from dataclasses import dataclass, field
from anisomem.baselines.wen import WenNorm

@dataclass
class Mine(WenNorm):
    """A norm under another name.

    More of it.
    """
    words: list[str] = field(default_factory=lambda: ["a", "b"])
    steps: int = 2

@dataclass
class Asks(WenNorm):
    """Wants to know."""
    weight: float = field(default="???")

@dataclass
class Holds(WenNorm):
    """Holds what is no setting."""
    what: object = object()

class Other:
    pass
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, from which modules are imported as the command does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, ""])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


def install(folder, name, module, offered):
    """A package as pip leaves it, with its entry points."""
    (folder / f"{name}_code.py").write_text(module)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{key} = {value}\n" for key, value in offered.items())
    (info / "entry_points.txt").write_text(f"[anisomem.detectors]\n{lines}")


@pytest.fixture
def site(here, monkeypatch):
    """A folder of installed packages."""
    folder = here / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    return folder


def listed(capsys):
    assert main(["list", "detectors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}


def test_an_entry_point_is_chosen_like_a_built_in(site, capsys):
    install(site, "mypkg", MODULE, {"mine": "mypkg_code:Mine"})
    (composed,) = compose.cases(
        ["model=testbed_epsilon", "detector=[wen,mine]", "detector.mine.steps=3"]
    )
    assert composed.detector["mine"] == {
        "_target_": "mypkg_code.Mine",
        "n": [1],
        "words": ["a", "b"],
        "steps": 3,
    }
    mine = detectors(composed.detector)[-1]
    assert (type(mine).__name__, mine.name, mine.n, mine.steps) == ("Mine", "mine", 1, 3)
    assert listed(capsys)["mine"] == "A norm under another name."
    assert main(["list", "detectors", "--long"]) == 0
    (row,) = (li for li in capsys.readouterr().out.splitlines() if li.startswith("| mine "))
    cells = [cell.strip() for cell in row.split("|")]
    assert "2407.21720" in cells and cells[-5:-2] == ["1", "4", "0"]  # n, NFE, JVPs


def test_broken_entry_points_are_a_line_each_and_break_no_other(site, capsys):
    offers = {
        "good": "mypkg_code:Mine",
        "missing": "mypkg_code:Nothing",
        "other": "mypkg_code:Other",
        "asks": "mypkg_code:Asks",
        "holds": "mypkg_code:Holds",
    }
    install(site, "mypkg", MODULE, offers)
    install(site, "broken", "import nowhere_at_all", {"bad": "broken_code:Mine"})
    install(site, "syntax", "x = = 1", {"worse": "syntax_code:Mine"})
    lines = listed(capsys)
    assert lines["good"] == "A norm under another name." and "wen" in lines
    package = "of package broken cannot be imported: ModuleNotFoundError: No module named"
    assert package in lines["bad"] and lines["bad"].startswith("broken: ")
    assert "SyntaxError" in lines["worse"] and "AttributeError" in lines["missing"]
    assert "mypkg_code:Other is no Detector class" in lines["other"]
    assert main(["list", "detectors", "--long"]) == 0
    out = capsys.readouterr().out
    assert "| good " in out and "| wen " in out and "No module named 'nowhere_at_all'" in out

    compose.cases(["detector=[wen,good]"])
    with pytest.raises(UserError, match="'bad' of package broken cannot be imported") as caught:
        compose.cases(["detector=[wen,bad]"])
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="'holds' of package mypkg has a default that YAML cannot"):
        compose.cases(["detector=[wen,holds]"])
    with pytest.raises(UserError, match=r"detector.asks needs a value for .*weight"):
        named("asks", [])
    assert named("asks", ["weight=2.5"]).weight == 2.5


def test_nothing_of_a_package_is_imported_before_it_is_named(site):
    install(site, "mypkg", MODULE, {"mine": "mypkg_code:Mine"})
    compose.cases(["detector=[wen]"])
    assert "mypkg_code" not in sys.modules
    compose.cases(["detector=[mine]"])
    assert "mypkg_code" in sys.modules


def test_a_name_that_two_have_is_refused(site, here, capsys):
    install(site, "mypkg", MODULE, {"wen": "mypkg_code:Mine", "twice": "mypkg_code:Mine"})
    install(site, "yours", MODULE, {"twice": "yours_code:Mine"})
    for name, first in (("wen", "wen.yaml"), ("twice", "package mypkg")):
        with pytest.raises(UserError, match=f"several detectors are named '{name}': .*{first}"):
            compose.cases([f"detector=[{name}]"])
    compose.cases(["detector=[jeon]"])
    assert main(["list", "detectors"]) == 0
    out = capsys.readouterr().out
    assert "package yours: several detectors have this name" in out


def test_a_file_that_is_no_text_breaks_no_list(here, capsys):
    write(here, "")
    (here / "conf/detector/mine.yaml").write_bytes(b"# \xff\nmine: \xff")
    assert "wen" in listed(capsys)
    with pytest.raises(UserError, match="is no YAML"):
        compose.cases(["detector=[mine]"])


def write(here, text, name="mine"):
    folder = here / "conf" / "detector"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)


def test_a_file_here_is_chosen_like_a_built_in(here, capsys):
    (here / "own_code.py").write_text(MODULE)
    write(here, "# Ours.\nmine:\n  _target_: own_code.Mine\n  n: [2, 3]\n  steps: 4\n")
    (composed,) = compose.cases(["model=testbed_velocity", "detector=[mine,wen]"])
    assert [d.key for d in detectors(composed.detector)[:2]] == ["mine, n=2", "mine, n=3"]
    assert listed(capsys)["mine"] == "Ours."
    detector = named("mine", ["steps=7"])
    assert (detector.n, detector.steps) == (2, 7)  # the fewest noise samples
    with pytest.raises(UserError, match="no detector named 'mien'; did you mean 'mine'"):
        compose.cases(["detector=[mien]"])


def test_a_stack_holds_detectors_of_ones_own(here):
    (here / "own_code.py").write_text(MODULE)
    write(here, "mine:\n  _target_: own_code.Mine\n  n: [1]\n")
    stack = named("stack", ["members=[wen,mine]"])
    assert [type(member).__name__ for member in stack.members] == ["WenNorm", "Mine"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mine: [", "is no YAML"),
        ("yours:\n  a: 1", "must hold one entry, mine"),
        ("- a", "must hold one entry, mine"),
        ("mine:\n  _target_: nowhere_code.Mine", "No module named 'nowhere_code'"),
        ("mine:\n  steps: 2", "has no _target_"),
        ("mine: 3", "must hold one entry, mine"),
    ],
)
def test_mistakes_in_a_file_are_one_line(here, text, expected, capsys):
    write(here, text)
    assert main(["check-detector", "mine"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and expected in error
    compose.cases(["detector=[wen]"])
    assert main(["list", "detectors"]) == 0


def test_a_copy_of_a_built_in_file_is_no_other_detector(here):
    text = (catalog.folder() / "detector" / "wen.yaml").read_text()
    write(here, text, "wen")
    assert registry.not_built_in() == []
    write(here, text.replace("steps: 1", "steps: 2"), "wen")
    with pytest.raises(UserError, match="several detectors are named 'wen'"):
        registry.offer("wen")


def test_a_dotted_path_needs_no_file(here):
    (here / "own_code.py").write_text(MODULE)
    detector = named("own_code.Mine", ["steps=5", "words=[c]"])
    assert isinstance(detector, Detector) and (detector.steps, detector.words) == (5, ["c"])
    overrides = ["detector=[wen]", "+detector.mine._target_=own_code.Mine"]
    built = detectors(compose.cases(overrides)[0].detector)
    assert [one.key for one in built] == ["wen, n=1", "wen, n=4", "mine, n=1"]


def test_listing_imports_no_torch():
    code = (
        "import sys; from anisomem.cli.main import main; "
        "[main(['list', 'detectors', *more]) for more in ([], ['--long'])]; "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| wen " in done.stdout


BROKEN = {
    "bytes": b"\x80\x81",
    "syntax": b"syntax: [",
    "two": b"a: 1\n---\nb: 2\n",
    "list": b"- 1\n",
    "deep": b"[" * 5000,
    "looks_up": b"looks_up: {_target_: '${nope}'}\n",
}


def test_broken_files_are_named_and_the_others_listed(here, capsys):
    folder = here / "conf" / "detector"
    folder.mkdir(parents=True)
    for name, content in BROKEN.items():
        (folder / f"{name}.yaml").write_bytes(content)
    (folder / "folder.yaml").mkdir()
    (folder / "dangling.yaml").symlink_to("nowhere")
    assert main(["list", "detectors"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    for name in (*BROKEN, "folder", "dangling"):
        assert lines[name].startswith(f"broken: conf/detector/{name}.yaml "), lines[name]
        assert main(["run", f"detector=[{name}]", "dry_run=true"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"{name}.yaml" in error
    assert "Wen" in lines["wen"]
    assert compose.cases(["experiment=quickstart", "detector=[wen]"])  # nobody else is concerned


@pytest.mark.parametrize("error", ["RuntimeError", "ValueError", "KeyError", "ZeroDivisionError"])
def test_an_own_class_that_raises_is_one_line_with_its_place(here, capsys, error):
    (here / "raises.py").write_text(
        "from anisomem.baselines.wen import WenNorm\n\nclass Raises(WenNorm):\n"
        f"    def __post_init__(self):\n        raise {error}('no licence')\n"
    )
    words = ["model=testbed_epsilon", "detector=[wen]", "dry_run=true"]
    assert main(["run", *words, "+detector.mine._target_=raises.Raises"]) == 3
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and f"detector.mine: {error}: " in printed
    assert "no licence" in printed and "raises.py, line 5); the traceback is in " in printed
