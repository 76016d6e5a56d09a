"""Every command that a page shows can be typed as it stands, and is run where that takes seconds.

What is appended to one that is run makes it small and changes nothing that the page says.
"""

import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from anisomem.benchmark.case import Case
from anisomem.cli.main import group, main
from anisomem.config import catalog, compose
from anisomem.config.overrides import read
from anisomem.datasets import cards
from anisomem.detection.configured import detectors
from anisomem.errors import UserError
from anisomem.evidence import document
from anisomem.run import labelled
from anisomem.scan.command import with_prompts
from anisomem.sweep.command import SWEEPS
from anisomem.tradeoff.settings import mitigations

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Files that the pages' commands name; written into an empty folder.
FILES = {
    "prompts.parquet": None,
    "mine.csv": "caption,is_memorized\n" + "".join(f"cat {i},{i % 2}\n" for i in range(8)),
    "mine.txt": "red cat\ndog 1\n",
    "ordinary.txt": "".join(f"a dog {i}\n" for i in range(40)),
    "yes.txt": "red cat\ndog\n",
    "scores.csv": "label,mine,theirs\n" + "".join(f"{i % 2},{i * i % 7},{i}\n" for i in range(40)),
    "no.txt": "a cat\na dog\n",
}
ELSEWHERE = ("OWNER/NAME", "weights=random")  # needs a hub, or minutes


def lines(page):
    """The commands of a page's shell blocks, continued lines joined."""
    text = page.read_text()
    for block in re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield from re.sub(r"\\\n\s*", "", block).splitlines()


def commands(page):
    """Those of anisomem, and those that stand in the running text, as words."""
    inline = re.findall(r"`(anisomem [a-z][^`]*)`", page.read_text().replace("\n", " "))
    for line in [*lines(page), *inline]:
        words = shlex.split(line, comments=True)
        if words[:1] == ["anisomem"] and len(words) > 1:
            yield words[1:]


COMMANDS = list(dict.fromkeys(" \0".join(words) for page in PAGES for words in commands(page)))


def fill(folder, save_pipeline, make_prompts):
    """Puts what the commands name into a folder."""
    (folder / "FOLDER").symlink_to(save_pipeline())
    for name, content in FILES.items():
        if content:
            (folder / name).write_text(content)
    data = make_prompts([f"cat {i}" for i in range(12)], [i % 2 for i in range(12)])
    data.to_dataset().to_parquet(folder / "prompts.parquet")


@pytest.fixture
def place(tmp_path, monkeypatch, save_pipeline, make_prompts):
    """A folder with what the commands name, without a network."""
    fill(tmp_path, save_pipeline, make_prompts)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("ANISOMEM_DATA", str(tmp_path / "empty"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shells_pass_on_what_is_written(page):
    for line in lines(page):
        bare = re.sub(r"'[^']*'|\"[^\"]*\"|(^|\s)#.*", "", line)
        assert line.startswith(("for ", "    ")) or not set(bare) & set("[]{}*?!~"), line
        assert not bare.rstrip().endswith("..."), f"not to be typed: {line}"


def test_commands_are_found():
    assert len(COMMANDS) > 60
    assert {command.split(" \0")[0] for command in COMMANDS} >= {"run", "sweep", "audit", "list"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.replace(" \0", " "))
def test_a_documented_command_can_be_typed(command, place):
    words = command.replace("DIGEST", "0" * 64).split(" \0")
    of_tutorial = "score_change" in command or "mine.Mine" in command  # test_docs.py runs them
    if len(words) == 1 or of_tutorial:  # named as such, or run there
        return
    chosen = group.commands[words[0]].make_context(words[0], words[1:])
    options = SimpleNamespace(command=words[0], **chosen.params)
    overrides = list(getattr(options, "overrides", []))
    if any(name in command for name in ELSEWHERE):
        compose.cases(overrides)
        return
    match options.command:
        case "run" if "FOLDER" in command:  # a model and prompts that are here
            assert [Case(case, "documented").missing() for case in labelled.judged(overrides)]
        case "run" | "mitigate":
            for case in labelled.judged(overrides):
                detectors(case.detector), mitigations(case)
        case "sweep":
            assert options.name in SWEEPS
            labelled.judged(overrides)
        case "geometry":
            labelled.judged(overrides or ["experiment=geometry_testbed"])
        case "multirun":
            compose.checked(options.arguments, several=True)
        case "list":
            assert main(words) == 0
        case "fetch" | "audit":
            known = {*cards.names(), *catalog.names("dataset"), "all", "NAME"}
            assert options.name in known
            compose.cases(overrides)
        case "scan":
            compose.cases([f"experiment={catalog.SCAN}", *with_prompts(overrides)])
        case "demo":  # it serves until it is ended, which tests/demo does
            compose.cases([f"experiment={catalog.DEMO}", *overrides])
        case "generate":
            compose.cases([f"mitigation=[{options.mitigate or 'none'}]", *overrides])
        case _:
            read(overrides)


TINY = ["draws=100", "gallery=0", "timing_repeats=0", "workers=1"]
#: Of both bundled models one is enough, and of its prompts few.
ONE = ["model=testbed_epsilon", "dataset=testbed_epsilon", "limit=12", *TINY]
FOLDER = ["model=diffusers_folder", "model.path=FOLDER", "model.stands_for=sd14"]
RECORDED = ["run", "experiment=quickstart", "limit=100"]
OWN = ["run", *FOLDER[:2], "detector=[wen,jeon]", "dataset=prompts_file"]
#: Commands, with what is appended.
RUN = [
    (["table", "runs/quickstart"], []),
    (["scores", "runs/quickstart", "wen", "--top", "20"], []),
    (["compare", "wen", "jeon", "anisotropy"], []),
    (["compare", "wen,n=1", "wen,n=4"], []),
    (["export-released", "runs/table1_sd14", "--out", "det_outputs"], []),
    (["run", *FOLDER, "dataset=prompts_file", "dataset.path=prompts.parquet"], TINY),
    (
        [*OWN, "dataset.path=mine.csv", "dataset.columns={prompt: caption, label: is_memorized}"],
        TINY,
    ),
    ([*OWN, "dataset.memorized=yes.txt", "dataset.others=no.txt"], TINY),
    (["table", "runs/a", "runs/b", "--out", "merged"], []),
    (["scan", "mine.csv", *FOLDER[:2], "calibration=ordinary.txt"], ["workers=1"]),
    (["scan", "mine.csv", *FOLDER[:2], "calibration=ordinary.txt", "dry_run=true"], []),
    (["generate", "PROMPT", "--mitigate", "wen"], FOLDER),
    (["new-detector", "mine"], []),
    (["evaluate", "scores.csv"], ["draws=100"]),
    (["evaluate", "scores.csv", "--score", "mine", "--out", "evaluated"], ["draws=100"]),
    (["list", "detectors", "--long"], []),
    (["board", "results/", "--out", "site/board"], []),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, save_pipeline, make_prompts):
    """A folder with what the commands name; the quickstart is recorded there once."""
    folder = tmp_path_factory.mktemp("documented")
    fill(folder, save_pipeline, make_prompts)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*RECORDED, *ONE]) == 0
    for name in ("runs/a", "runs/b", "runs/table1_sd14", "results/quickstart"):
        shutil.copytree(folder / "runs/quickstart", folder / name)
    return folder


@pytest.mark.parametrize(("words", "small"), RUN, ids=[" ".join(words) for words, _ in RUN])
def test_a_documented_command_does_what_it_says(words, small, workspace, monkeypatch, capsys):
    assert " \0".join(words) in COMMANDS and " \0".join(RECORDED) in COMMANDS
    monkeypatch.chdir(workspace)
    assert main([*words, *small]) == 0
    shown = capsys.readouterr()
    assert len(shown.out) > 20 and "Traceback" not in shown.err
    if words[0] in ("run", "table", "scores", "compare", "evaluate"):
        assert max(map(len, shown.out.splitlines())) <= 100


#: What is done one after the other, with what is appended; the packets are of one name.
EVIDENCE = [
    (["pack", "runs/quickstart", "--out", "packet.zip"], []),
    (["verify", "packet.zip"], []),
    (["scan", "mine.csv", *FOLDER[:2], "calibration=ordinary.txt"], ["workers=1"]),
    (["pack", "runs/scan", "--out", "packet.zip"], []),
    (["verify", "packet.zip"], []),
    (["pack", "runs/scan", "--out", "hidden.zip", "--redact"], []),
    (["report", "runs/scan", "--pdf"], []),
]


def test_evidence_is_packed_verified_and_printed_as_the_page_says(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    for words, small in EVIDENCE:
        assert " \0".join(words) in COMMANDS
        if words[0] == "pack":
            Path(words[3]).unlink(missing_ok=True)
        if words[0] == "report" and not has_pango():
            continue
        assert main([*words, *small]) == 0, words
        shown = capsys.readouterr()
        assert len(shown.out) > 20 and "Traceback" not in shown.err
    assert Path("hidden.zip.salt").is_file()


def has_pango():
    """Whether a PDF can be made here."""
    try:
        document.library()
    except UserError:
        return False
    return True
