"""The reference names every command, setting and thing that can be chosen, and says what it is."""

import re

import pytest

from anisomem.cli.main import group
from anisomem.cli.settings import defaults
from anisomem.config import catalog
from scripts.website import reference


@pytest.fixture(scope="module")
def pages():
    return reference.pages()


def headings(page, level):
    return re.findall(rf"^{'#' * level} (.*)$", page, re.MULTILINE)


def rows(page):
    """The first cell of every row of a page's tables."""
    return [
        line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if line[:2] == "| "
    ]


def test_every_command_has_a_section_with_its_options_settings_and_examples(pages):
    page = pages["reference/commands.md"]
    assert set(headings(page, 3)) == {f"anisomem {name}" for name in group.commands}
    for name, command in group.commands.items():
        section = page.split(f"### anisomem {name}\n")[1].split("\n### ")[0]
        for param in command.params:
            spelled = [*param.opts, param.metavar] if param.opts[0][0] == "-" else [param.metavar]
            assert all(one in section for one in spelled if one), (name, param.name)
            assert param.help
        assert all(f"\n{example}\n" in section for example in command.examples)
        assert {f"`{one}`" for one in command.settings} <= set(rows(section))


def test_every_setting_has_a_line_with_type_default_and_meaning(pages):
    lines = {
        cells[0].strip("| `"): cells[1:]
        for line in pages["reference/settings.md"].splitlines()
        if len(cells := line.split(" | ")) == 4
    }
    assert set(defaults()) <= set(lines)
    assert lines["limit"][0] == "integer or null" and lines["seeds"][0] == "list"
    assert lines["scan.cheap"][1] == "`4`"
    # What stands above a setting, or above and behind the name that it stands below.
    assert lines["strengths"][2].startswith("Of anisomem mitigate: for a mitigation")
    assert "ordinary prompts outside the dataset" in lines["references.prompts"][2]
    assert [name for name in defaults() if not lines[name][2].strip("| ")] == []


def test_everything_that_is_chosen_by_name_is_there_with_its_file(pages):
    page = pages["reference/configurations.md"]
    for group_ in reference.CHOSEN:
        part = page.split(f"\n## {group_.capitalize()}s\n")[1].split("\n## ")[0]
        assert headings(part, 3) == catalog.names(group_)
    assert set(reference.CHOSEN) == set(catalog.GROUPS) - {"detector"}
    assert "path: CompVis/stable-diffusion-v1-4" in page


def test_every_detector_says_where_it_comes_from_what_it_costs_and_its_formula(pages):
    page = pages["reference/detectors.md"]
    assert headings(page, 2) == catalog.names("detector")
    wen = page.split("\n## wen\n")[1].split("\n## ")[0]
    assert "https://arxiv.org/abs/2407.21720" in wen and "2 NFE at n = 1" in wen
    assert "[WenNorm][baselines.wen.WenNorm]" in wen and "steps: 1" in wen
    assert "a control" in page.split("\n## random\n")[1].split("\n## ")[0]


def test_every_formula_that_a_detector_names_is_documented(pages):
    named = set(re.findall(r"\]\[([\w.]+)\]", pages["reference/detectors.md"]))
    page = pages["reference/formulas.md"]
    documented = set()
    for module, members in re.findall(
        r"^::: ([\w.]+)\n.*\n +members: \[(.*)\]$", page, re.MULTILINE
    ):
        documented |= {f"{module}.{name}" for name in members.split(", ")}
    assert named == documented and len(named) > 20


def test_what_cells_hold_is_shown_as_it_is():
    assert reference.code("a | b") == r"a \| b"
    assert reference.code("a`b") == "``a`b``"
    assert reference.plain("two\n lines *of* text") == r"two lines \*of\* text"
    assert reference.block("```\nx\n```").startswith("````\n")
