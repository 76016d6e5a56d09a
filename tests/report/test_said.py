"""What a page says in words: its numbers are the table's."""

import re
from dataclasses import replace

import pytest
from anisomem.baselines.controls import PromptLength, Random

from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.evaluation import NOT_SEPARABLE
from anisomem.report import said, tables, terms
from anisomem.report.compared import at_largest_n
from anisomem.report.descriptions import descriptions
from anisomem.report.figures import compared_of


@pytest.fixture(scope="module")
def results(gallery_run):
    (file,) = gallery_run[1].glob("*/config.yaml")
    return Results(Case.stored(file))


@pytest.fixture(scope="module")
def cells(results):
    """The main table's cells, by detector's key and heading."""
    table = tables.main_table(results.table)
    keys = [row.key for row in results.table]
    return {
        key: dict(zip(table.headings, row, strict=True))
        for key, row in zip(keys, table.rows, strict=True)
    }


def test_the_best_and_the_controls_have_the_numbers_of_the_table(results, cells):
    prompts, by_auc, by_tpr, controls = said.sentences(results, compared_of(results))
    assert prompts == "120 memorized and 120 other prompts."
    largest = at_largest_n(results.detectors)
    for sentence, heading in ((by_auc, "AUC"), (by_tpr, "TPR@1%FPR")):
        values = {d.key: float(cells[d.key][heading].split()[0]) for d in largest}
        best = max(largest, key=lambda d: values[d.key])
        assert sentence.startswith(f"Best by {heading}, ")
        assert f": {said.named(best)}, {cells[best.key][heading]}; " in sentence
    assert f"an AUC of {cells['random']['AUC']} (random)" in controls
    assert f"a TPR@1%FPR of {cells['random']['TPR@1%FPR']} (random)" in controls


def test_what_is_not_separable_is_named(results):
    pairs = compared_of(results)
    for statistic, sentence in zip(
        pairs.statistics(), said.sentences(results, pairs)[1:], strict=False
    ):
        best = max(range(len(statistic.values)), key=lambda d: statistic.values[d])
        equal = {
            said.named(pairs.detectors[pair.a + pair.b - best])
            for pair in pairs.pairs
            if best in (pair.a, pair.b) and statistic.verdict(pair) == NOT_SEPARABLE
        }
        if equal:
            listed = sentence.partition("not separable from it: ")[2].rstrip(".")
            assert set(listed.split(", ")) == equal
        else:
            assert sentence.endswith("every other one is separably worse.")


def test_one_detector_alone_has_its_number(results, cells):
    alone, only = said.sentences(results, None)[1], results.detectors[0]
    assert alone == f"{said.named(only)} has an AUC of {cells[only.key]['AUC']}."


def test_facts_say_which_model_prompts_version_and_day(results):
    facts = dict(said.facts(results))
    assert facts["Model"] == results.model and facts["Noise"] == "seed 42"
    sha256 = results.case.content["model"]["path"]
    assert facts["Revision"] == f"folder, sha256 {sha256[:16]}"
    assert results.case.content["prompts"][:16] in facts["Prompts"]
    assert re.match(r"\d{4}-\d\d-\d\d, .*anisomem \d", facts["Recorded"])


def test_facts_name_every_machine_that_recorded(results, monkeypatch):
    made = {**results.measured.provenance, "earlier": [{"date": "2026-01-01", "device_name": "A"}]}
    measured = replace(results.measured, provenance=made)
    monkeypatch.setitem(vars(results), "measured", measured)
    recorded = dict(said.facts(results))["Recorded"]
    assert recorded.startswith("2026-01-01, A; then 20")


def test_a_page_is_of_a_day_and_a_command(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    (written, (_, command)) = said.written("anisomem run experiment=quickstart")
    assert written[1].startswith("1970-01-02, anisomem ")
    assert command == "anisomem run experiment=quickstart"
    assert len(said.written("")) == 1


def test_every_detector_is_described_in_two_sentences(results):
    found = descriptions(results.configured)
    assert [one.name for one in found] == list(dict.fromkeys(d.name for d in results.detectors))
    for one in found:
        assert len(re.findall(r"\.(?= [A-Z]|$)", one.text)) >= 2, one.text
    by_name = {one.name: one for one in found}
    assert by_name["wen"].link.startswith("https://arxiv.org/abs/")
    assert by_name["wen"].recorded == "wen/norm[step:0]"
    assert "never sees the model" in by_name["random"].text and not by_name["random"].link


def test_a_detector_of_another_name_is_described_by_its_class():
    mine, other = descriptions([Random("mine"), PromptLength("wen_too")])
    assert mine.text.startswith("A uniform number per prompt, drawn anew for every noise seed.")
    assert other.text.startswith("The number of characters.")


def test_words_of_a_table_are_explained_where_they_are_used(results):
    explained = dict(terms.explained(tables.main_table(results.table)))
    assert set(explained) >= {"AUC", "n", "TPR@1%FPR, TPR@3%FPR", "NFE", "s alone, s shared"}
    assert "units, clusters" in explained
    costs = dict(terms.explained(tables.costs_table([results])))
    assert "AUC" not in costs and "n" in costs


def test_blocks_of_bundled_sets_alone_are_explained(make_prompts):
    prompts = make_prompts(["a", "b"], [1, 0])
    parts = ["against near_miss", "template", "one per cluster"]
    assert [line.partition(":")[0] for line in terms.of_parts(prompts, parts)] == [
        "one per cluster"
    ]
    bundled = type(prompts)(**{**vars(prompts), "name": "testbed_epsilon"})
    assert [line.partition(":")[0] for line in terms.of_parts(bundled, parts)] == parts
