"""Every measure of the configuration, and that none loads anything before it starts."""

import subprocess
import sys
from itertools import chain

import pytest

from anisomem.cli.main import main
from anisomem.config import catalog, compose
from anisomem.errors import UserError
from anisomem.measures.base import SUBJECTS
from anisomem.tradeoff.settings import measures

DIGEST = "0" * 64
GIVEN = {
    "sscd": ["measure.sscd.sha256=" + DIGEST],
    "sscd_jeon": ["measure.sscd_jeon.sha256=" + DIGEST],
    "aesthetic": ["measure.aesthetic.weights=x", "measure.aesthetic.sha256=" + DIGEST],
}
NAMES = catalog.names("measure")


def built(name, *settings):
    return measures(compose.cases([f"measure=[{name}]", *settings])[0])


@pytest.fixture(scope="module")
def every():
    return built(",".join(NAMES), *chain(*GIVEN.values()))


def test_each_is_built_under_its_name_and_says_what_it_measures(every):
    assert [measure.name for measure in every] == NAMES
    for measure in every:
        assert {statistic.subject for statistic in measure.statistics} <= set(SUBJECTS)
        copying = {statistic.subject == "copying" for statistic in measure.statistics}
        assert copying == {measure.of_copies}, measure.name


def test_statistics_of_all_measures_can_be_told_apart(every):
    names = [statistic.name for measure in every for statistic in measure.statistics]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["sscd", "sscd_jeon", "aesthetic"])
def test_a_sha256_must_be_given(name):
    expected = rf"measure\.{name} needs a value for measure\.{name}\.sha256"
    with pytest.raises(UserError, match=expected):
        built(name)


def test_listed_by_title(capsys):
    assert main(["list", "measures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all(len(line.split("  ", 1)[1].strip()) > 20 for line in lines)


def test_building_imports_no_torch():
    overrides = [f"measure=[{','.join(NAMES)}]", *chain(*GIVEN.values())]
    code = (
        "import sys; from anisomem.config import compose; from anisomem.tradeoff import settings; "
        f"settings.measures(compose.cases({overrides!r})[0]); "
        "print(sorted({'torch', 'transformers', 'diffusers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
