"""What stands around the code names what is there: the site's pages, workflows, the citation."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from anisomem import papers
from anisomem.config import catalog
from scripts.website import reference
from scripts.website.repository import PLACES

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def named(nav):
    """The pages of a navigation, depth first."""
    for entry in nav:
        for inside in entry.values():
            yield from named(inside) if isinstance(inside, list) else [inside]


def test_the_site_shows_every_page_once_and_no_other():
    nav = list(named(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    written = {page.name for page in (ROOT / "docs").glob("*.md")}
    assert len(nav) == len(set(nav))
    assert set(nav) == written | set(reference.pages()) | (set(PLACES.values()) - {"index.md"})
    assert all((ROOT / source).exists() for source in PLACES)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_top_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text())
    assert [t for t in targets if "://" not in t and not (ROOT / t).exists()] == []


def test_lists_and_tables_begin_behind_an_empty_line():
    """Where none stands, the site shows one paragraph."""
    begins = re.compile(r"[-*] |\d+\. |\|")
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        lines = text.splitlines()
        for before, line in pairwise(lines):
            alone = begins.match(line) and before.strip() and not begins.match(before)
            assert not alone or before.startswith(" "), (page.name, line)
            # A list in a list stands four columns in, or the site shows one list.
            assert not re.match(r" {1,3}([-*]|\d+\.) ", line), (page.name, line)


def test_a_wheel_holds_every_bundled_model():
    packed = PROJECT["tool"]["setuptools"]["package-data"]["anisomem.testbed"]
    assert {f"{place}/**" for place in catalog.PLACES} <= set(packed)


def test_workflows_call_targets_of_make_and_nothing_else():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = set()
    assert WORKFLOWS
    for file in WORKFLOWS:
        workflow = yaml.safe_load(file.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] and job["steps"][0]["uses"].startswith(
                "actions/checkout@"
            )
            for step in job["steps"]:
                assert ("uses" in step) != ("run" in step)
                if "run" in step:
                    make, *rest = step["run"].split()
                    assert make == "make" and rest and set(rest) <= targets, step
                    called |= set(rest)
                else:
                    assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])
    assert called == {"lint", "test", "docs", "wheel", "try-wheel", "cards"}


def test_tests_run_on_every_python_that_the_package_takes():
    (checks,) = (yaml.safe_load(file.read_text()) for file in WORKFLOWS)
    tested = checks["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"
    assert tested == ["3.11", "3.12", "3.13"]


def test_the_citation_is_of_this_version_and_of_the_paper_that_is_reproduced():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format needs
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    (paper,) = citation["references"]
    known = papers.ASTHANA
    assert (paper["title"], paper["year"]) == (known.title, known.year)
    assert " and ".join(one["family-names"] for one in paper["authors"]) == known.authors
    assert paper["url"].endswith(known.arxiv) and paper["repository-code"] == known.code
    assert known.venue in paper["conference"]["name"]


def test_the_changelog_begins_with_this_version():
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first[1] == PROJECT["project"]["version"]


def test_tools_of_an_extra_are_pinned():
    extras = PROJECT["project"]["optional-dependencies"]
    for name in ("dev", "docs", "release"):
        assert all("==" in one for one in extras[name]), name
