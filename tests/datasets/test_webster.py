"""Webster's own labels: hard negatives of a set, where his file is at hand."""

import hashlib
from dataclasses import replace

import pytest

from anisomem.datasets import cards, fetch, published
from anisomem.errors import UserError
from anisomem.report.audit import audit

from .conftest import SD1, WEBSTER, captions, webster

SET, VARIANT, FILE = (
    "sd14_webster500",
    "against_hard_negatives",
    "sdv1_bb_edge_groundtruth.parquet",
)


def test_the_captions_that_he_labels_n_are_the_others(made):
    prompts = published.load(SET, str(made), VARIANT)
    others = [i for i, label in enumerate(prompts.labels) if not label]
    expected = [row["caption"] for row in WEBSTER if row["kind"] == "N"]
    assert [prompts.texts[i] for i in others] == expected
    assert {prompts.blocks[i] for i in others} == {"hard_negatives"}
    assert {prompts.kinds[i] for i in others} == {"N"}
    assert prompts.ids[others[0]] == "sdv1_bb_edge_groundtruth-1"
    assert prompts.urls[others[0]] == ["https://webster/0"]


def test_no_prompt_is_of_both_classes_and_the_table_says_so(made):
    prompts = published.load(SET, str(made), VARIANT)
    memorized = {t for t, label in zip(prompts.texts, prompts.labels, strict=True) if label}
    assert memorized == set(SD1) - set(SD1[3:6])
    assert "3 memorized prompts are left out, which Webster labels N" in prompts.cautions
    (other,) = (caution for caution in prompts.cautions if "third party" in caution)
    assert FILE in other


def test_the_file_that_a_third_party_has_needs_no_caution(made, monkeypatch):
    read, md5 = cards.read, hashlib.md5((made / FILE).read_bytes()).hexdigest()
    known = lambda name: replace(  # noqa: E731
        read(name), unpinned=[replace(one, md5=md5) for one in read(name).unpinned]
    )
    monkeypatch.setattr(cards, "read", known)
    (made / "a").mkdir()
    (made / "a" / FILE).write_bytes(webster(WEBSTER[:4]))  # another of its name, found first
    prompts = published.load(SET, str(made), VARIANT)
    assert not any("third party" in caution for caution in prompts.cautions)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (WEBSTER[:499], "has 499 rows and 112 labelled N, its card says 500 and 113"),
        ([*WEBSTER[:-1], {"caption": "x", "kind": "TV"}], "500 rows and 112 labelled N"),
        ([*WEBSTER[:-1], {"caption": "x", "kind": "M"}], "overfit_type is 'M', expected TV"),
        ([*WEBSTER[:-1], {"caption": " ", "kind": "N"}], "expected texts in caption"),
        ([*WEBSTER[:-1], {"caption": "a\0b", "kind": "N"}], "NUL"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(made, rows, said):
    (made / FILE).write_bytes(webster(rows))
    with pytest.raises(UserError, match=said):
        published.load(SET, str(made), VARIANT)


def test_without_the_file_all_else_works_and_its_variant_says_where_it_is(made):
    (made / FILE).unlink()
    assert len(published.load(SET, str(made))) == 1000
    with pytest.raises(UserError, match=r"huggingface\.co/datasets/fraisdufour/templates-verbs/"):
        published.load(SET, str(made), VARIANT)
    *_, line = fetch.fetch(SET, str(made))
    assert FILE in line and "not fetched" in line


def test_audit_counts_his_labels_of_the_memorized(made, monkeypatch):
    monkeypatch.setattr("anisomem.report.audit.SEEDS", range(1))
    monkeypatch.setattr("anisomem.report.audit.separation", lambda *_: _Nothing)
    text = audit(SET, [f"paths.data={made}", f"dataset.variant={VARIANT}"])
    assert (
        "labels of the memorized prompts: TV 129, MV 129, RV 129, N 3, not in the file 110" in text
    )
    assert "hard_negatives 113" in text and "N 113" in text
    (made / FILE).unlink()
    assert "Webster's labels are not at hand" in audit(SET, [f"paths.data={made}"])


class _Nothing:
    @staticmethod
    def section():
        return ""


def test_captions_are_the_same_by_their_words():
    from anisomem.datasets.webster import Labelled, Labels

    labels = Labels([Labelled(1, "Unicorn / Rainbow", "", "MV")])
    assert labels.of("Unicorn Rainbow") == "MV" and labels.of(captions(0, 1)[0]) is None
