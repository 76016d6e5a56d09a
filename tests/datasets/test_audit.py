"""What an audit says, against counts made by hand and the figures known of the real files."""

import os

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline

from anisomem.cli.main import main
from anisomem.datasets import cards, published
from anisomem.evaluation import auc, character_model, word_model
from anisomem.report.audit import (
    capitalised,
    composition,
    grouped_auc,
    lengths,
    normalised,
    overlaps,
    separation,
)

#: Mean AUC in grouped folds of word TF-IDF and of character n-grams, and the AUC of the share of
#: capitalised words, on the published files.
KNOWN = {
    "sd14_webster500": (0.9773, 0.9969, 0.9888),
    "sd20_webster219": (0.9980, 0.9996, 0.9937),
    "realvis_90": (0.9464, 0.9979, 0.9998),
    "memattn_sd14": (0.9810, 0.9980, 0.9593),
    "memattn_sd20": (0.9990, 1.0000, 0.9718),
    "nemo_laion": (0.9613, 0.9696, 0.6832),
}


def column(table, heading):
    at = list(table.headings).index(heading)
    return [row[at] for row in table.rows]


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_text_separates_the_real_lists_as_known(real, name):
    prompts = published.load(name, real)
    plain, lchar, capitals = KNOWN[name]
    assert grouped_auc(prompts, word_model).mean() == pytest.approx(plain, abs=0.01)
    assert grouped_auc(prompts, character_model).mean() == pytest.approx(lchar, abs=0.01)
    shares = [capitalised(text) for text in prompts.texts]
    assert auc(shares, prompts.labels) == pytest.approx(capitals, abs=5e-5)


@pytest.fixture
def mixed(make_prompts, rng):
    """Forty prompts of each class in clusters of two."""
    vocabulary = [["red", "blue", "cat", "dog"], ["red", "blue", "car", "bus"]]
    labels = np.repeat([1, 0], 40)
    texts = [" ".join(rng.choice(vocabulary[1 - y], 4)) for y in labels]
    return make_prompts(texts, labels, np.arange(80) // 2)


def test_grouped_auc_is_the_mean_over_folds_of_five_seeds(mixed):
    expected = []
    texts = np.array(mixed.texts, object)
    for seed in range(5):
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for train, test in splitter.split(texts, mixed.labels, mixed.clusters):
            model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=2000))
            scores = model.fit(texts[train], mixed.labels[train]).decision_function(texts[test])
            expected.append(roc_auc_score(mixed.labels[test], scores))
    np.testing.assert_allclose(grouped_auc(mixed, word_model), expected, atol=1e-12)


def test_tables_of_a_set_counted_by_hand(make_prompts):
    texts = [
        "Red Cat", '"red cat"', "Red Cat", "Blue Dog runs",
        "a car", "a <i>car</i>", "bus " * 80, "tram",
    ]  # fmt: skip
    prompts = make_prompts(texts, [1] * 4 + [0] * 4, [0, 0, 0, 1, 2, 2, 3, 1])
    table = composition(prompts)
    assert column(table, "n") == ["4", "4"]
    assert column(table, "repeated") == ["1", "0"]
    assert column(table, "after cleaning") == ["2", "1"]
    assert column(table, "clusters") == ["2", "3"]
    assert column(table, "largest cluster") == ["3", "2"]
    assert "1 hold both" in table.notes[1]

    from anisomem.datasets import tokens

    counts = tokens.count(texts)
    table = lengths(prompts, counts)
    assert column(table, "cut at 75 tokens") == ["0", "1", "1"]
    assert column(table, "words: median / mean")[0] == "2 / 2.2"

    table = separation(prompts, counts)
    assert column(table, "capitalised words") == ["0.875"]  # 14 of 16 pairs
    assert column(table, "words (TF-IDF)") == ["–"]
    assert "all: " in table.notes[1]  # too few clusters for five folds
    assert normalised('"Red  <b>CAT</b>!"') == "red cat"


def test_overlaps_between_sets(made):
    table = overlaps(published.load("sd14_webster500", str(made)), "sd14_webster500", str(made))
    found = dict(zip(column(table, "set"), table.rows, strict=True))
    assert found["sd20_webster219"][1:] == ["172", "0", "0", "500", "172"]
    assert found["memattn_sd14"][1:] == ["345", "0", "0", "0", "345"]
    assert found["membench_sd14"][1:] == ["0", "0", "0", "0", "0"]
    (made / "SD1_final.csv").unlink()
    table = overlaps(published.load("realvis_90", str(made)), "realvis_90", str(made))
    assert "Without their files: membench_sd14." in table.notes


def test_command_prints_and_keeps(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("anisomem.report.audit.SEEDS", range(1))
    out = tmp_path / "audit.md"
    command = ["audit", "realvis_90", "dataset.variant=against_laion", f"paths.data={made}"]
    assert main([*command, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == out.read_text().strip()
    assert printed.startswith("# Audit of realvis_90-against_laion\n")
    for title in ("Composition", "Overlaps", "Lengths", "What text alone separates"):
        assert f"\n## {title}\n\n| " in printed
    assert "rohanasthana/memorization-anisotropy: MIT" in printed

    assert main(["audit", "realvis"]) == 2
    assert "did you mean 'realvis_90'?" in capsys.readouterr().err
    assert main(["audit", "realvis_90", f"paths.data={os.devnull}"]) == 2
    assert "paths.data must be a folder" in capsys.readouterr().err


def test_every_published_set_in_one_table(made, capsys, monkeypatch):
    monkeypatch.setattr("anisomem.report.audit.SEEDS", range(1))
    kept = [cards.read(name) for name in ("model_swap", "realvis_90", "gustavosta")]
    monkeypatch.setattr(cards, "names", lambda: [card.name for card in kept])
    (made / "unmemorized_laion_prompts.csv").unlink()
    assert main(["audit", "all", f"paths.data={made}"]) == 0
    out = capsys.readouterr().out
    rows = [line.split()[1] for line in out.splitlines() if line.startswith(("| real", "| mod"))]
    assert rows == [
        "model_swap-sd14", "model_swap-sd14-one_per_cluster", "realvis_90",
        "realvis_90-one_per_cluster", "realvis_90-without_largest_family", "realvis_90-VM",
        "realvis_90-TM",
    ]  # fmt: skip
    assert "not at hand: realvis_90-against_laion.\n" in out
    assert main(["audit", "all", f"paths.data={made / 'nowhere'}"]) == 2
    assert "run anisomem fetch" in capsys.readouterr().err
