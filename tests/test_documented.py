"""Every command that a page shows can be typed as it stands, in bash and in zsh."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from anisomem import catalog, config, labelled
from anisomem.benchmark import Case
from anisomem.cli.main import group, main
from anisomem.datasets import cards
from anisomem.overrides import read
from anisomem.sweep.command import SWEEPS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Files that the pages' commands name; written into an empty folder.
FILES = {
    "prompts.parquet": None,
    "mine.csv": "caption,is_memorized\n" + "".join(f"cat {i},{i % 2}\n" for i in range(8)),
    "yes.txt": "red cat\ndog\n",
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


@pytest.fixture
def place(tmp_path, monkeypatch, save_pipeline, make_prompts):
    """A folder with what the commands name, without a network."""
    (tmp_path / "FOLDER").symlink_to(save_pipeline())
    for name, content in FILES.items():
        if content:
            (tmp_path / name).write_text(content)
    data = make_prompts([f"cat {i}" for i in range(12)], [i % 2 for i in range(12)])
    data.to_dataset().to_parquet(tmp_path / "prompts.parquet")
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
    if len(words) == 1 or "score_change" in command:  # named as such, or run by test_docs.py
        return
    chosen = group.commands[words[0]].make_context(words[0], words[1:])
    options = SimpleNamespace(command=words[0], **chosen.params)
    overrides = list(getattr(options, "overrides", []))
    if any(name in command for name in ELSEWHERE):
        config.cases(overrides)
        return
    match options.command:
        case "run" if "FOLDER" in command:  # a model and prompts that are here
            assert [Case(case, "documented").missing() for case in labelled.judged(overrides)]
        case "run" | "mitigate":
            for case in labelled.judged(overrides):
                config.detectors(case), config.mitigations(case)
        case "sweep":
            assert options.name in SWEEPS
            labelled.judged(overrides)
        case "geometry":
            labelled.judged(overrides or ["experiment=geometry_testbed"])
        case "multirun":
            config.checked(options.arguments, several=True)
        case "list":
            assert main(words) == 0
        case "fetch" | "audit":
            known = {*cards.names(), *catalog.names("dataset"), "all", "NAME"}
            assert options.name in known
            config.cases(overrides)
        case "generate":
            config.cases([f"mitigation=[{options.mitigate or 'none'}]", *overrides])
        case _:
            read(overrides)
