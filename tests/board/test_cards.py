"""A ``table.json`` is read as data: what is no card is refused, whatever it holds."""

import pytest

from anisomem.board import cards
from anisomem.errors import UserError
from tests.board.conftest import content, row

ONE = {"statistic": "auc", "published": 0.9, "spread": None, "in_our_interval": True}


def of(change):
    said = content([row("wen")], {"wen, n=1": [{**ONE, "source": "Somebody, 2024"}]})
    change(said)
    return said


def test_what_a_run_leaves_is_a_card():
    (card,) = cards.read(of(lambda said: None), "results/a")
    assert (card.detector, card.n, card.prompts, card.key) == ("wen", 1, "captions", "wen, n=1")
    assert card.measured["auc"].text == "0.900 [0.850, 0.950]"
    (one,) = card.reported["auc"]
    assert (one.number, one.verdict, one.source) == ("0.900", "reproduced", "Somebody, 2024")
    assert dict(card.origin.facts)["memorized / other prompts"] == "10 / 20"
    assert not card.origin.checked


def test_a_derivative_costs_two_evaluations():
    (card,) = cards.read(content([row("jeon", nfe=1, jvps_per_prompt=2)]), "a")
    assert card.cost == 5 and card.cost_text == "1 + 2 JVP"
    (free,) = cards.read(content([row("text", n=0, nfe=None)]), "a")
    assert free.cost is None and free.cost_text == "–" and free.key == "text"


def set_row(name, value):
    return lambda said: said["rows"][0].__setitem__(name, value)


def set_case(name, value):
    return lambda said: said["cases"][0].__setitem__(name, value)


@pytest.mark.parametrize(
    "change",
    [
        set_row("auc", float("nan")),
        set_row("auc", 1.5),
        set_row("auc", "0.9"),
        set_row("auc", True),
        set_row("auc", 10**400),
        set_row("n", 0.5),
        set_row("n", -1),
        set_row("nfe_per_prompt", -1),
        set_row("seconds_per_10_prompts", float("inf")),
        set_row("detector", "x" * 1000),
        set_row("detector", ["wen"]),
        set_row("detector", ""),
        set_row("prompts", "another"),
        set_case("name", None),
        set_case("published", []),
        set_case("published", {"wen, n=1": {}}),
        set_case("published", {"wen, n=1": [{**ONE, "in_our_interval": "yes", "source": "s"}]}),
        set_case("published", {"wen, n=1": [{**ONE, "published": 7, "source": "s"}]}),
        set_case("published", {"wen, n=1": [{**ONE, "source": "s"}] * 100}),
        set_case("model", "small"),
        lambda said: said.__setitem__("rows", {}),
        lambda said: said.__setitem__("rows", [1]),
        lambda said: said.__setitem__("cases", said["cases"] * 1000),
    ],
)
def test_anything_else_is_refused_in_one_line(change):
    with pytest.raises(UserError) as error:
        cards.read(of(change), "results/a")
    text = str(error.value)
    assert text.startswith("results/a: its table is not what a run leaves: ")
    assert "\n" not in text and len(text) < 500


def test_control_characters_are_shown_as_such():
    (card,) = cards.read(content([row("we\x1b[31mn\u202e")]), "a")
    assert card.detector == "we�[31mn�"


def test_a_detector_that_was_not_scored_says_why():
    lost = {f"{name}{end}": None for name in cards.STATISTICS for end in ("", "_low", "_high")}
    (card,) = cards.read(content([row("wen") | lost | {"auc_note": "all scores are equal"}]), "a")
    assert card.measured["auc"] is None and card.refused == "all scores are equal"
