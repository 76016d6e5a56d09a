"""The picture of cost against AUC: the front is what nothing beats that costs no more."""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np

from anisomem.board import cards, pareto
from tests.board.conftest import content, row


def test_the_front_is_named_and_nothing_else():
    rng = np.random.default_rng(0)
    rows = [
        row(f"d{i}", n, auc=float(rng.uniform(0.4, 0.95)), nfe=float(n * (1 + i)))
        for i, n in product(range(15), (1, 4))
    ]
    every = cards.read(content([*rows, row("text_only", 0, nfe=None)]), "a")
    shown = [(one.card, one.cost, one.area.value) for one in pareto.priced(every)]
    assert len(shown) == 30
    best = {
        card.key
        for card, cost, area in shown
        if not any(c <= cost and a >= area and (c, a) != (cost, area) for _, c, a in shown)
    }
    figure = pareto.pareto("small on captions", every)
    (legend,) = figure.legends
    named = {text.get_text().partition(": ")[0] for text in legend.get_texts()}
    assert named == best and 1 <= len(best) < 15
    (axis,) = figure.axes
    assert axis.get_xlabel() and axis.get_ylabel() and figure._suptitle.get_text()
    plt.close(figure)


def test_where_nothing_beats_a_coin_there_is_no_front():
    rows = [row(f"d{i}", 1, auc=0.3 + i / 20, nfe=float(1 + i)) for i in range(4)]
    figure = pareto.pareto("small on captions", cards.read(content(rows), "a"))
    (axis,) = figure.axes
    assert len(axis.collections) + len(axis.containers) + len(axis.lines) >= 4
    plt.close(figure)


def test_a_picture_is_a_png():
    every = cards.read(content([row("wen"), row("jeon", nfe=5.0, auc=0.95)]), "a")
    before = plt.get_fignums()
    assert pareto.png(pareto.pareto("small on captions", every)).startswith(b"\x89PNG")
    assert plt.get_fignums() == before
