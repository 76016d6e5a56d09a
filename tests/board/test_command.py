"""From a folder of results to a board: what counts as a card, and what is said of the rest."""

import json
import os

import pytest

from anisomem.board.gather import gather
from anisomem.cli.main import main
from tests.board.conftest import content, put, row


def board(results, out, capsys):
    """The exit code, and what was printed."""
    capsys.readouterr()
    code = main(["board", str(results), "--out", str(out)])
    return code, *capsys.readouterr()


def test_a_card_is_what_a_run_leaves_or_a_packet_that_is_verified(results, tmp_path, capsys):
    code, out, err = board(results, tmp_path / "board", capsys)
    assert code == 0 and {p.name for p in (tmp_path / "board").glob("[!.]*")} == {
        "index.html",
        "board.md",
    }
    said = json.loads((results / "ours" / "table.json").read_text())
    assert f"{2 * len(said['rows'])} cards from 2 cases" in out
    assert f"no card in {results / 'sweeps'}\n" in err and "refused" not in err

    found = gather(results)
    theirs, ours = (
        [c for c in found.cards if c.origin.checked is checked] for checked in (True, False)
    )
    for card, line in zip(ours, said["rows"], strict=True):
        assert (card.detector, card.n, card.model) == (line["detector"], line["n"], line["model"])
        area = card.measured["auc"]
        assert [area.value, area.low, area.high] == [
            line[f"auc{e}"] for e in ("", "_low", "_high")
        ]
        assert card.prompts == "sd14_webster500" and card.nfe == line["nfe_per_prompt"]
    for own, other in zip(ours, theirs, strict=True):
        assert own.measured == other.measured and own.reported == other.reported
        assert own.cost == other.cost and own.origin.place == "results/ours"
        assert other.origin.place == "results/cards/theirs" and other.origin.unchecked


def test_reproduced_is_what_our_interval_holds(results):
    said = json.loads((results / "ours" / "table.json").read_text())
    lines = {(one["detector"], one["n"]): one for one in said["rows"]}
    verdicts = set()
    for card in gather(results).cards:
        line = lines[card.detector, card.n]
        for one in card.reported["auc"]:
            inside = line["auc_low"] <= one.value <= line["auc_high"]
            assert one.reproduced is inside
            verdicts.add(one.verdict)
        for one in card.reported["tpr_at_fpr_0.01"]:
            ours = line["tpr_at_fpr_0.01"]
            nearest = line["tpr_nearest_fpr_0.01"]
            if ours is None or abs(ours - nearest) > 1e-9:
                assert one.reproduced is None
            else:
                low, high = (line[f"tpr_at_fpr_0.01_{end}"] for end in ("low", "high"))
                assert one.reproduced is (low <= one.value <= high)
    # The paper's AUCs on the real model are beyond a tiny random one.
    assert "not reproduced" in verdicts
    reported = {c.key for c in gather(results).cards if c.reported["auc"]}
    assert "wen, n=1" in reported and "random" not in reported


def test_a_packet_that_is_not_verified_has_no_card_and_is_named(results, forge, tmp_path, capsys):
    forged = forge(results / "cards" / "forged" / "packet.zip")
    code, out, err = board(results, tmp_path / "board", capsys)
    assert code == 1
    assert f"refused: {forged}: 'table.csv'" in err and "Traceback" not in err
    assert "from 2 cases" in out
    assert "forged" not in (tmp_path / "board" / "index.html").read_text()


def test_of_others_packets_alone_count_and_links_are_not_followed(results, tmp_path, capsys):
    put(results / "cards" / "claimed", content([row("mine")]))
    put(results / "cards" / "theirs" / "below", content([row("mine")]))
    put(tmp_path / "elsewhere", content([row("mine")]))
    os.symlink(tmp_path / "elsewhere", results / "linked")
    code, _, err = board(results, tmp_path / "board", capsys)
    assert code == 0 and str(results / "cards" / "claimed") in err
    assert all(card.detector != "mine" for card in gather(results).cards)


def test_damaged_tables_are_refused_and_cost_no_other(results, tmp_path, capsys):
    put(results / "broken", {})
    (results / "broken" / "table.json").write_text("{")
    put(results / "wrong", content([row("mine", auc_high=7)]))
    code, out, err = board(results, tmp_path / "board", capsys)
    assert code == 1 and "from 2 cases" in out
    assert f"refused: {results / 'broken' / 'table.json'} is damaged" in err
    assert "refused: results/wrong: its table is not what a run leaves: auc_high is '7'" in err


def test_a_card_of_an_earlier_version_is_shown_without_what_is_published(tmp_path, capsys):
    said = content([row("mine")])
    del said["cases"][0]["published"]
    put(tmp_path / "results" / "old", said)
    code, _, err = board(tmp_path / "results", tmp_path / "board", capsys)
    assert code == 0 and "results/old does not say what is published" in err
    assert "| not stated |" in (tmp_path / "board" / "board.md").read_text()


@pytest.mark.parametrize("make", [None, "empty", "broken"])
def test_without_a_card_there_is_no_board(make, tmp_path, capsys):
    folder = tmp_path / "results"
    if make:
        folder.mkdir()
    if make == "broken":
        put(folder / "a", [])
    code, out, err = board(folder, tmp_path / "board", capsys)
    assert code == 2 and out == "" and not (tmp_path / "board").exists()
    words = {None: "no folder at", "empty": "no card below", "broken": "holds a list"}
    assert words[make] in err and "Traceback" not in err


def test_a_board_is_made_anew_in_its_place(results, tmp_path, capsys):
    out = tmp_path / "board"
    assert board(results, out, capsys)[0] == 0
    first = {file.name: file.read_bytes() for file in out.iterdir()}
    assert board(results, out, capsys)[0] == 0
    assert {file.name: file.read_bytes() for file in out.iterdir()} == first
