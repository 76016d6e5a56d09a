"""Help at every level, its examples and defaults, the version, and what a wrong word is told."""

import re
import shlex
import subprocess
import sys

import pytest
import yaml
from omegaconf import OmegaConf

from anisomem.cli.main import SECTIONS, group, main, version
from anisomem.cli.settings import defaults
from anisomem.config import catalog, compose
from anisomem.config.schema import Schema
from anisomem.scan.command import with_prompts

COMMANDS = dict(group.commands)
EXAMPLES = [example for command in COMMANDS.values() for example in command.examples]


def printed(capsys, *words):
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_command_in_its_group_with_one_line(flag, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = printed(capsys, flag).splitlines()
    for title in SECTIONS:
        assert f"{title}:" in lines
    for name, command in COMMANDS.items():
        (line,) = (line for line in lines if line.startswith(f"  {name} "))
        assert line.split(maxsplit=1)[1] == command.short_help


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_says_what_it_takes(name, capsys):
    out, command = printed(capsys, name, "--help"), COMMANDS[name]
    assert out.startswith(f"Usage: anisomem {name} ")
    assert command.help.splitlines()[0] in " ".join(out.split())
    for example in command.examples:
        assert f"  {example}\n" in out
    for param in command.params:
        assert param.help and param.help.endswith((".", ").")), param
        assert param.opts[0] in out or param.metavar in out
    for setting in command.settings:
        assert f"  {setting}=" in out
    assert 1 <= len(command.examples) <= 3 and "--verbose" in out and "--quiet" in out


def test_defaults_are_those_that_the_configuration_has():
    file = OmegaConf.load(catalog.folder() / "config.yaml")
    groups = {k: v for one in file.defaults if not isinstance(one, str) for k, v in one.items()}
    written = OmegaConf.to_container(OmegaConf.masked_copy(file, sorted(set(file) - {"defaults"})))
    for name, setting in defaults().items():
        group_, _, inside = name.partition(".")
        expected = groups[name] if name in groups else written[group_]
        expected = expected[inside] if inside else expected
        if name == "paths.data":
            expected = "$ANISOMEM_DATA"  # as a shell writes what Hydra looks up
        assert yaml.safe_load(setting.default) == (
            list(expected) if isinstance(expected, list | tuple) else expected
        ), name
    fields = set(Schema.__dataclass_fields__) | {"experiment"}
    assert {name.partition(".")[0] for name in defaults()} == fields
    assert defaults()["trial.steps"].default == "50"
    assert defaults()["limit"].note.startswith("prompts at most")


def test_experiments_that_a_command_has_by_default_are_shown_and_taken(capsys):
    for name, experiment in (
        ("mitigate", catalog.MITIGATE),
        ("geometry", catalog.GEOMETRY),
        ("scan", catalog.SCAN),
    ):
        assert experiment in catalog.names("experiment")
        assert f"  experiment={experiment}" in printed(capsys, name, "--help")


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_can_be_typed(example):
    word, name, *rest = shlex.split(example)
    assert word == "anisomem"
    params = COMMANDS[name].make_context(name, rest).params
    if name == "multirun":
        compose.checked(params["arguments"], several=True)
    elif overrides := params.get("overrides"):
        compose.cases(with_prompts(overrides) if name == "scan" else overrides)
    assert not set(re.sub(r"'[^']*'|\"[^\"]*\"", "", example)) & set("[]{}*?!~")


def test_version_names_the_commit_of_a_checkout(capsys, monkeypatch):
    shown = printed(capsys, "--version").strip()
    assert re.fullmatch(r"anisomem \d+\.\d+\.\d+(, commit [0-9a-f]{40}(-dirty)?)?", shown)
    monkeypatch.setattr("anisomem.run.provenance.git_commit", lambda folder: None)
    assert re.fullmatch(r"anisomem \d+\.\d+\.\d+", version())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "missing command; see anisomem --help"),
        (["rnu"], "no command named 'rnu'; did you mean 'run'?"),
        (["run", "--hlep"], "no option named '--hlep'; did you mean '--help'?"),
        (["run", "modle=sd14"], "no setting named 'modle'; did you mean 'model'?"),
        (["--verison"], "no option named '--verison'; did you mean '--version'?"),
        (["multirun", "--confg=x"], "no option named '--confg'; did you mean '--cfg'?"),
        (["list", "modles"], "no list named 'modles'; did you mean 'models'?"),
        (["list"], "anisomem list needs WHAT; see anisomem list --help"),
        (["generate"], "anisomem generate needs PROMPT; see anisomem generate --help"),
        (["table"], "anisomem table needs RUN; see anisomem table --help"),
        (["export-released", "runs"], "anisomem export-released needs --out; see"),
        (["scores", "runs", "--label", "memorised"], "did you mean 'memorized'?"),
        (["scores", "runs", "--top", "0"], "--top: expected a positive integer, got '0'"),
        (["generate", "a", "--fpr", "x"], "--fpr: expected a number such as 0.05, got 'x'"),
        (["generate", "a", "--out"], "option '--out' requires an argument"),
        (["list", "models", "more"], "got unexpected extra argument (more); see anisomem list"),
        (["-q", "-v", "list", "models"], "-v says more and -q less, give one of them"),
        (["-v", "list", "-q", "models"], "-v says more and -q less, give one of them"),
    ],
)
def test_a_wrong_word_is_one_line_with_the_nearest(words, expected, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("anisomem: ") and expected in err


def test_help_and_lists_need_no_library_that_composes():
    code = (
        "import sys; from anisomem.cli.main import main; "
        "codes = [main(words) for words in (['--help'], ['run', '--help'], ['list', 'detectors'], "
        "['list', 'models'])]; "
        "heavy = {'torch', 'hydra', 'omegaconf', 'numpy', 'pandas', 'matplotlib', 'yaml'}; "
        "sys.exit(str(codes) * any(codes) + str(heavy & set(sys.modules)) * bool(heavy & "
        "set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_setting_written_as_an_option_is_told_how_it_is_written(capsys):
    assert main(["run", "--limit", "40"]) == 2
    assert capsys.readouterr().err == "anisomem: settings have no dashes; write limit=VALUE\n"


@pytest.mark.parametrize("command", sorted(group.commands))
def test_no_help_shows_what_hydra_looks_up(command, capsys):
    assert main([command, "--help"]) == 0
    assert "${" not in capsys.readouterr().out
    assert not any("${" in one.default for one in defaults().values())


def test_a_setting_from_the_environment_is_written_as_in_a_shell(capsys):
    assert main(["audit", "--help"]) == 0
    assert "paths.data=$ANISOMEM_DATA  folder of published prompt sets" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["experiment=quickstart"], "settings stand behind a command: anisomem run experiment="),
        (["help"], "that is an option: anisomem --help"),
        (["generate", "a", "red", "cat"], 'quote it: "a red cat"'),
    ],
)
def test_what_newcomers_type_is_told_how_to_be_typed(words, said, capsys):
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1
