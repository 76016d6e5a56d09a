"""What figures show, from cases made by hand."""

import numpy as np
import pytest
from anisomem.baselines.controls import Random
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from anisomem.benchmark.results import Row
from anisomem.engine.cost import TimedCounts
from anisomem.evaluation import Evaluation
from anisomem.report import across, figures
from anisomem.report.colours import colours_of
from anisomem.report.compared import Compared, at_largest_n


def test_forest_of_many_has_a_row_per_detector_the_best_on_top(many):
    colours = colours_of([many])
    figure = figures.forest(many, colours)
    left, right = figure.axes
    summaries = dict(zip([d.key for d in many.detectors], many.evaluated.summaries(), strict=True))
    keys = sorted(
        (d.key for d in at_largest_n(many.detectors)), key=lambda key: -summaries[key].auc.value
    )
    assert [t.get_text() for t in left.get_yticklabels()] == keys and len(keys) == 25
    for axis, read in ((left, lambda s: s.auc), (right, lambda s: s.tpr[0.01])):
        points = [line for line in axis.lines if line.get_marker() == "o"]
        assert len(points) == 25
        for y, (key, point) in enumerate(zip(keys, points, strict=True)):
            value = np.clip(read(summaries[key]).value, 0.0005, 0.9995)
            assert point.get_xdata()[0] == pytest.approx(value)
            assert point.get_ydata()[0] == y
            assert to_hex(point.get_color()) == colours[key.removesuffix(", n=4")]
    plt.close(figure)


def test_what_no_detector_has_is_no_panel(many):
    evaluated = many.evaluated
    few = Evaluation(evaluated.scores, many.prompts.labels, many.prompts.clusters, [0.001], 100)
    many.evaluated = few  # 150 negatives resolve no 0.1%
    figure = figures.forest(many, colours_of([many]))
    assert [axis.get_xlabel() for axis in figure.axes] == ["AUC, logit scale"]
    assert not any("not resolvable" in text.get_text() for text in figure.axes[0].texts)
    plt.close(figure)


def test_distributions_have_a_line_where_few_of_the_others_are_beyond(many):
    colours = colours_of([many])
    many.scores = dict(zip([d.key for d in many.detectors], many.evaluated.scores, strict=True))
    figure = figures.distributions(many, colours)
    others = many.prompts.labels == 0
    panels = [axis for axis in figure.axes if axis.axison]
    assert len(panels) == 25
    for axis, detector in zip(panels, at_largest_n(many.detectors), strict=True):
        (line,) = axis.lines
        threshold = line.get_xdata()[0]
        values = many.scores[detector.key][0]
        assert (values[others] > threshold).sum() <= 1 < 1.5  # 1% of 150
        assert (values[others] >= threshold).sum() == 2
        faces = {to_hex(patch.get_facecolor()) for patch in axis.patches}
        assert colours[detector.name] in faces and len(faces) == 2
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "exceeded by 1% of the others" in texts
    plt.close(figure)


def every_figure(case):
    """All figures that apply to a case made by hand, with times made up."""
    summaries = zip(case.detectors, case.evaluated.summaries(), strict=True)
    case.table = [
        Row("made", d.name, d.n, s, TimedCounts(1, 0, 0, (1 + i, 1, 1), 1, 1), [])
        for i, (d, s) in enumerate(summaries)
    ]
    case.scores = dict(zip([d.key for d in case.detectors], case.evaluated.scores, strict=True))
    largest = at_largest_n(case.detectors)
    rows = case.evaluated.scores[[case.detectors.index(d) for d in largest]]
    labels, clusters = case.prompts.labels, case.prompts.clusters
    evaluation = Evaluation(rows, labels, clusters, case.evaluated.targets, 300)
    target = case.config.fpr_targets[-1]
    found = Compared("m", "a on m", target, largest, evaluation, evaluation.comparisons())
    colours = colours_of([case])
    drawn = {name: draw() for name, draw in figures.figures_of(case, found, colours).items()}
    by_key = {d.key: colours[d.name] for d in case.detectors}
    drawn["across"] = across.figure(across.across([found, found]), by_key)
    return {name: figure for name, figure in drawn.items() if figure}


@pytest.fixture(params=["case", "many"])
def drawn(request):
    case = request.getfixturevalue(request.param)
    case.detectors = [d if d.n else Random(d.name, 1) for d in case.detectors]
    found = every_figure(case)
    yield case, found
    plt.close("all")


def start(axis):
    """The first column of a grid that an axis is in."""
    return axis.get_subplotspec().colspan.start


def test_every_axis_has_a_title(drawn):
    _, found = drawn
    assert set(found) >= {"roc", "forest", "cost", "distributions", "dose_response", "verdicts"}
    for name, figure in found.items():
        figure.draw_without_rendering()
        for axis in figure.axes:
            if not axis.axison:
                continue
            sides = ((axis.xaxis, "x"), (axis.yaxis, "y"))
            for side, letter in sides:
                shown = [t for t in side.get_ticklabels() if t.get_text() and t.get_visible()]
                of_all = getattr(figure, f"get_sup{letter}label")()
                same_column = [
                    other
                    for other in figure.axes
                    if letter == "x" and other.get_subplotspec().colspan.start == start(axis)
                ]
                along = getattr(axis, f"get_shared_{letter}_axes")().get_siblings(axis)
                shared = any(
                    getattr(other, f"get_{letter}label")() for other in (*along, *same_column)
                )
                assert not shown or of_all or shared, (name, letter)


def test_a_detector_has_one_colour_in_all_figures(drawn):
    case, found = drawn
    colours = colours_of([case])
    assert len(set(colours.values())) == len(colours)
    best = max(
        at_largest_n(case.detectors),
        key=lambda d: case.evaluated.summaries()[case.detectors.index(d)].auc.value,
    )
    own = colours[best.name]
    for name in {"roc", "forest", "cost", "critical_difference", "across", "distributions"}:
        lines = [line for axis in found[name].axes for line in axis.lines]
        patches = [patch for axis in found[name].axes for patch in axis.patches]
        used = {to_hex(line.get_color()) for line in lines}
        used |= {to_hex(patch.get_facecolor()) for patch in patches}
        assert own in used, name


@pytest.mark.filterwarnings("error:.*divide:RuntimeWarning")
def test_scores_without_order_are_drawn(case):
    """One detector gives every prompt the same score, the other one all but three."""
    scores = np.zeros_like(case.evaluated.scores)
    scores[1, :, -3:] = 1
    case.detectors = [Random("first", 1), Random("second", 4)]
    case.evaluated = Evaluation(scores, case.prompts.labels, case.prompts.clusters, draws=100)
    for figure in every_figure(case).values():
        figure.draw_without_rendering()
    plt.close("all")


def test_every_figure_has_a_caption():
    named = [*figures.FIGURES, *figures.OF_PAIRS, "across"]
    assert sorted(figures.CAPTIONS) == sorted(named)
