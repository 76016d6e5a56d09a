"""The reference pages of the site, as Markdown made of what the package says of itself.

Commands are those of :mod:`anisomem.cli.main` with their help; settings, and what can be chosen by
name, are the files of ``conf/``; detectors say in their ``info`` where they come from. So a page
names whatever is there, and nothing that is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import click
import yaml

import anisomem
from anisomem.cli.command import Command
from anisomem.cli.main import SECTIONS, commands_of
from anisomem.cli.settings import Default, defaults
from anisomem.config import catalog
from anisomem.config.schema import PARTS, Schema
from anisomem.report import escape

#: The classes that a program of one's own implements, by what it adds.
CONTRACTS = {
    "A detector": [
        "anisomem.detection.base",
        "anisomem.detection.needs",
        "anisomem.detection.places",
        "anisomem.detection.options",
        "anisomem.conformance.DetectorConformance",
    ],
    "A mitigation": ["anisomem.mitigation.base"],
    "A measure": ["anisomem.measures.base"],
    "A model": ["anisomem.models.base", "anisomem.models.prediction"],
}
#: The groups of ``conf/`` by the word of ``anisomem list``, with the setting that chooses.
CHOSEN = {
    "experiment": "A table, sweep or trade-off by one name: which cases, detectors and settings.",
    "model": "What is evaluated. Its settings are `model.NAME=VALUE`.",
    "dataset": "Labelled prompts. Their settings are `dataset.NAME=VALUE`.",
    "mitigation": "What is changed before or while a picture is sampled: `'mitigation=[A,B]'`.",
    "measure": "What pictures are judged by: `'measure=[A,B]'`.",
    "logger": "Where a finished run is sent besides.",
}

#: Before a page that a search shows behind the others.
_LATER = "---\nsearch:\n  boost: 0.5\n---\n"


def pages() -> dict[str, str]:
    """The Markdown of every reference page, by its place below ``docs/``."""
    return {
        "reference/commands.md": commands(),
        "reference/settings.md": settings(),
        "reference/configurations.md": configurations(),
        "reference/detectors.md": detectors(),
        "reference/formulas.md": formulas(),
        "reference/python.md": functions(),
        "reference/contracts.md": contracts(),
    }


def plain(text: str) -> str:
    """A text that Markdown shows as it is, in one line."""
    return escape.markdown_line(" ".join(text.split()))


def code(text: str) -> str:
    """A text as code, also in a table's cell."""
    marks = "``" if "`" in text else "`"
    return f"{marks}{text}{marks}" if text and "|" not in text else plain(text)


def table(headings: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are Markdown already; "" where there are no rows."""
    if not rows:
        return ""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def block(text: str, language: str = "") -> str:
    """A block of code, whatever it holds."""
    marks = "`" * max(3, 1 + max(map(len, re.findall(r"`{3,}", text)), default=0))
    return f"{marks}{language}\n{text.rstrip()}\n{marks}\n"


def commands() -> str:
    """Every command with its arguments, options, most used settings and examples."""
    parts = [
        "# Commands\n",
        "`-h` behind a command shows what this page says of it. `-v` says what is done (`-vv` in "
        "detail), `-q` leaves results, warnings and errors. Results are printed on the standard "
        "output, all else on the error stream. The exit code is 0; 1 where prompts failed; 2 "
        "after a mistake, which is one line; 3 after an error that nobody expected; 130 after "
        "Ctrl-C. Where a command takes `NAME=VALUE`, it takes every "
        "[setting](settings.md) that means something to it.\n",
    ]
    for title, files in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts += [command(one) for file in files for one in commands_of(file)]
    return "\n".join(parts)


def command(one: click.Command) -> str:
    """The section of a command."""
    context = click.Context(one, info_name=f"anisomem {one.name}")
    usage = " ".join([context.command_path, *one.collect_usage_pieces(context)])
    paragraphs = [plain(text) for text in (one.help or "").split("\n\n")]
    rows = [
        [code(_typed(param)), plain(getattr(param, "help", None) or "")] for param in one.params
    ]
    parts = [f"### anisomem {one.name}\n", *(f"{text}\n" for text in paragraphs)]
    parts += [block(usage, "text"), table(["argument or option", "means"], rows)]
    if isinstance(one, Command):
        known = defaults()
        rows = [
            [code(name), code(one.usual.get(name, known[name].default)), meaning(known[name])]
            for name in one.settings
        ]
        parts.append(table(["setting", "default", "means"], rows))
        parts.append(block("\n".join(one.examples), "bash"))
    return "\n".join(part for part in parts if part)


def _typed(param: click.Parameter) -> str:
    """An argument or option as it is typed."""
    if isinstance(param, click.Argument):
        return param.metavar or param.human_readable_name.upper()
    takes_value = not (isinstance(param, click.Option) and (param.is_flag or param.count))
    return ", ".join(param.opts) + f" {param.metavar or 'VALUE'}" * takes_value


def meaning(default: Default) -> str:
    """What a setting is, in a cell."""
    return plain(" ".join(filter(None, [default.above, default.note])))


def settings() -> str:
    """Every setting with its type, default and meaning, in the order of ``conf/config.yaml``."""
    types = dict(_types())
    rows = [
        [code(name), plain(types.get(name, "")), code(one.default), meaning(one)]
        for name, one in defaults().items()
    ]
    return "\n".join(
        [
            "# Settings\n",
            "A setting is given behind a command as `NAME=VALUE`, lists in quotes: "
            "`'seeds=[42,51]'`. A name that is not here is refused with the nearest one that is. "
            "`$NAME` is a variable of the environment. What `model`, `dataset`, `detector`, "
            "`mitigation`, `measure`, `logger` and `experiment` can be, and the settings inside "
            "them, is under [experiments, models and more](configurations.md) and "
            "[detectors](detectors.md).\n",
            table(["setting", "type", "default", "means"], rows),
        ]
    )


def _types() -> Iterator[tuple[str, str]]:
    """The settings of the schema by dotted name, each with its type in words."""
    for one in fields(Schema):
        yield one.name, _in_words(str(one.type))
        for inner in fields(PARTS[one.name]) if one.name in PARTS else ():
            yield f"{one.name}.{inner.name}", _in_words(str(inner.type))
    for group in catalog.GROUPS:
        yield group, "names" if group in catalog.LISTS else "name"
    yield "scan.columns", "mapping"


def _in_words(annotation: str) -> str:
    """A type as a reader of YAML says it."""
    words = {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}
    kind, _, rest = annotation.partition(" | ")
    if kind.startswith("list["):
        said = "list"
    elif kind.startswith("dict["):
        said = "mapping"
    else:
        said = words.get(kind, "any")
    return f"{said} or null" if rest == "None" else said


def configurations() -> str:
    """Everything but detectors that is chosen by name, with the file that configures it."""
    parts = [
        "# Experiments, models and more\n",
        "What `anisomem list` names, with the file behind each name. A value in it is a setting: "
        "`limit=100` where it stands at the left margin of an experiment, `model.dtype=bfloat16` "
        "where it stands in a model's file, `mitigation.wen.steps=5` where it stands below a "
        "mitigation's name.\n",
    ]
    for group, what in CHOSEN.items():
        parts += [f"## {group.capitalize()}s\n", f"`{group}=NAME`. {what}\n"]
        for name in catalog.names(group):
            file = catalog.folder() / group / f"{name}.yaml"
            text = re.sub(r"\A(# .*\n)+", "", file.read_text(encoding="utf-8"))
            parts += [f"### {name}\n", f"{plain(catalog.title(file))}\n", block(text, "yaml")]
    return "\n".join(parts)


def shipped() -> dict[str, dict[str, Any]]:
    """The settings of every detector that comes with the package, by name."""
    folder = catalog.folder() / "detector"
    return {
        name: yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))[name]
        for name in catalog.names("detector")
    }


def place(target: str) -> str:
    """Where the source of a configured class lies, as a dotted name."""
    return target.replace("anisomem.baselines.", "baselines.")


def detectors() -> str:
    """Every detector: where it comes from, what it reads, what that costs, how it is set."""
    from anisomem.cli.listing import described

    said = described()
    lines = {line[0]: dict(zip(said.headings, line, strict=True)) for line in said.rows}
    parts = [
        "# Detectors, one by one\n",
        "`'detector=[A,B]'` chooses them, `detector.A.NAME=VALUE` sets what stands in their file. "
        "The [overview](../detectors.md) says in a line what each computes, and where papers and "
        "released codes disagree.\n",
        *(f"{plain(note)}\n" for note in said.notes),
    ]
    folder = catalog.folder() / "detector"
    for name, node in shipped().items():
        file, target = folder / f"{name}.yaml", place(node["_target_"])
        kept = {setting: value for setting, value in node.items() if setting != "_target_"}
        parts += [
            f"## {name}\n",
            f"{plain(catalog.title(file))}\n",
            "".join(f"- *{what}*: {said}\n" for what, said in _facts(lines[name])),
            f"The formula: [{target.rpartition('.')[2]}][{target}]\n",
            block(yaml.safe_dump({name: kept}, sort_keys=False, allow_unicode=True), "yaml"),
        ]
    return "\n".join(parts)


def _facts(line: dict[str, str]) -> list[list[str]]:
    """What is known of a detector, each with what it says; what has no source is a control."""
    if line["year"] == "–":
        return [["source", "a control, of this project"]]
    arxiv, released = line["arXiv"], line["code"]
    cited = plain(f"{line['authors']}: {line['title']}. {line['venue']} {line['year']}")
    link = f", [arXiv {arxiv}](https://arxiv.org/abs/{arxiv})" * (arxiv != "–")
    rows = [["source", cited + link]]
    if released.startswith("https://"):
        rows.append(["released code", f"<{released}>, licence: {plain(line['licence'])}"])
    rows.append(["reads", plain(line["reads"])])
    rows.append(["quantity", plain(line["orientation"])])
    derivatives = f" and {line['JVPs alone']} JVP" * (line["JVPs alone"] != "0")
    rows.append(["cost alone", f"{line['NFE alone']} NFE{derivatives} at n = {line['n']}"])
    return rows


def formulas() -> str:
    """The modules of the detectors, each documented where it is written."""
    classes: dict[str, list[str]] = {}
    for node in shipped().values():
        module, _, name = place(node["_target_"]).rpartition(".")
        if name not in classes.setdefault(module, []):
            classes[module].append(name)
    parts = [
        _LATER + "# Detectors' formulas\n",
        "What each module computes, in its own words: the formula, its options, and every place "
        "where the paper and its released code disagree.\n",
    ]
    for module in sorted(classes, key=lambda dotted: dotted.rpartition(".")[2]):
        parts.append(_documented(module, f"members: [{', '.join(classes[module])}]"))
    return "\n".join(parts)


def _documented(target: str, *options: str) -> str:
    """The directive that documents what has a dotted name."""
    lines = [f"::: {target}", *(["    options:"] if options else [])]
    return "\n".join([*lines, *(f"      {option}" for option in options)]) + "\n"


def functions() -> str:
    """The names of the package itself."""
    parts = ["# Python functions\n"]
    parts.append(
        "What `import anisomem` offers; [the guide](../python.md) shows it at work. Mistakes "
        "raise `UserError`, whose text is one line.\n"
    )
    for name in ("load_model", "score", "compare", "evaluate", "Report", "UserError"):
        parts.append(_documented(f"{anisomem._PLACES[name]}.{name}"))
    return "\n".join(parts)


def contracts() -> str:
    """What a detector, mitigation, measure or model of one's own implements."""
    parts = [_LATER + "# Python contracts\n"]
    parts.append(
        "The classes that a detector, a mitigation, a measure or a model of your own is written "
        "against. [Your detector](../add-a-detector.md) and "
        "[models](../models.md#adding-a-family) show them used.\n"
    )
    for title, places in CONTRACTS.items():
        parts.append(f"## {title}\n")
        parts += [_documented(one, "heading_level: 3") for one in places]
    return "\n".join(parts)
