"""ROC curves, and lines over the number of noise samples, from cases made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from anisomem.evaluation import Evaluation, auc
from anisomem.report import curves
from anisomem.report.colours import colours_of
from anisomem.report.style import GREY


def test_roc_has_bands_around_few_curves(case):
    colours = colours_of([case])
    figure = curves.roc(case, colours)
    (axis,) = figure.axes
    labels = case.prompts.labels
    areas = [auc(row[0], labels) for row in case.evaluated.scores]
    (band,) = axis.collections  # the first detector is the best and the headline
    curve = next(line for line in axis.lines if line.get_label().startswith("first"))
    assert f"({areas[0]:.3f})" in curve.get_label()
    assert to_hex(band.get_facecolor()[0]) == to_hex(curve.get_color()) == colours["first"]
    x, y = curve.get_data()
    edges = band.get_paths()[0].vertices
    for fpr in (0.005, 0.01, 0.02, 0.99):  # before any false positive, and where it may step
        at = np.flatnonzero(x <= fpr + 1e-9)[-1]
        column = edges[np.abs(edges[:, 0] - fpr) < 1e-9, 1]
        assert column.min() <= y[at] <= column.max()
    plt.close(figure)


def test_roc_of_many_names_few(many):
    colours = colours_of([many])
    figure = curves.roc(many, colours)
    (axis,) = figure.axes
    named = [line for line in axis.lines if ", n=4 (" in str(line.get_label())]
    keys = [line.get_label().split(" (")[0] for line in named]
    # the best six, and the headline, here the first
    best = [f"detector_{i}, n=4" for i in (24, 23, 22, 21, 20, 19)]
    assert sorted(keys) == sorted([*best, "detector_00, n=4"])
    for line, key in zip(named, keys, strict=True):
        assert to_hex(line.get_color()) == colours[key.removesuffix(", n=4")]
    grey = [line for line in axis.lines if line.get_color() == GREY and len(line.get_xdata())]
    assert len(grey) == 25 - curves.NAMED
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[-1].startswith("18 others (0.")
    plt.close(figure)


def test_the_target_is_inside_the_axes_with_few_negatives(case):
    labels = np.repeat([0, 1], 20)
    scores = np.random.default_rng(0).normal(size=(2, 1, 40)) + labels
    case.prompts = SimpleNamespace(labels=labels)
    case.evaluated = Evaluation(scores, labels, np.arange(40), [0.01], draws=100)
    case.config = SimpleNamespace(fpr_targets=[0.01], seeds=[42])
    figure = curves.roc(case, colours_of([case]))
    (axis,) = figure.axes
    left, right = axis.get_xlim()
    (text,) = axis.texts
    assert text.get_text() == "1% FPR" and left < 0.01 < text.get_position()[0] < right
    assert curves.first_target(case) is None
    assert list(curves.shown_statistics(case)) == ["AUC"]
    plt.close(figure)


def test_more_noise_samples_are_a_line(many):
    colours = colours_of([many])
    figure = curves.samples(many, colours)
    left, right = figure.axes
    assert [axis.get_ylabel() for axis in figure.axes] == ["AUC, logit scale", "TPR@1%FPR"]
    by_key = dict(zip([d.key for d in many.detectors], many.evaluated.summaries(), strict=True))
    named = [line for line in left.lines if to_hex(line.get_color()) in colours.values()]
    assert len(named) == curves.NAMED and len(left.lines) == len(right.lines) == 25
    for line in named:
        name = line.get_label()
        assert to_hex(line.get_color()) == colours[name]
        assert list(line.get_xdata()) == [1, 4]
        areas = [by_key[f"{name}, n={n}"].auc.value for n in (1, 4)]
        assert list(line.get_ydata()) == pytest.approx(np.clip(areas, 0.0005, 0.9995))
    assert figure.legends[0].get_texts()[-1].get_text() == "18 others"
    plt.close(figure)


def test_one_number_of_samples_is_no_line(case):
    assert curves.samples(case, colours_of([case])) is None
