"""What all pictures share: for colour-blind readers and for print.

The pictures are in ``figures``, ``pairs`` and ``doses``, and in the rooms above.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl

if not os.environ.get("MPLBACKEND", "").startswith("module://matplotlib_inline"):
    mpl.use("Agg")  # no screen is needed to write a file; a notebook's own shows its figures

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy.special import expit, logit

from anisomem.report import literal
from anisomem.report.attempt import left_out
from anisomem.storage import atomic

SETTINGS = {"svg.hashsalt": "anisomem", **literal.SETTINGS}
mpl.rcParams.update(SETTINGS)

# Okabe and Ito's palette, without the yellow that vanishes on paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "0.72"  # what is shown for company
MARKERS = "osD^vP*X<>"
WIDTH = 6.8  # inches: a text column in print, half of a screen
#: Ticks where AUC has a scale that tells values near 0 and 1 apart, which ends at FURTHEST.
AREAS = (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
AREAS_ACROSS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
FURTHEST = 0.9995


def attempt(draw: Callable[[], Figure | None], path: Path) -> Path | None:
    """:func:`save` of what is drawn; None where that is nothing, or fails, which is said.

    A picture that fails must not cost the tables that stand beside it.
    """
    before = set(plt.get_fignums())
    try:
        figure = draw()
        return save(figure, path) if figure else None
    except Exception as error:
        left_out(f"figure {path.name}", error)
        return None
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def save(figure: Figure, path: Path) -> Path:
    """Saves and closes a figure as ``path`` with .svg and with .png; returns the latter."""
    prepare(figure)
    drawn = {".png": io.BytesIO(), ".svg": io.BytesIO()}
    with literal.quiet():
        # Not savefig, which draws everything once more beforehand.
        figure.set_dpi(150)
        FigureCanvasAgg(figure).print_png(drawn[".png"])
        figure.set_layout_engine(None)  # what is laid out stays; it is not measured again
        undated = {"Date": None}  # same numbers, same bytes
        FigureCanvasSVG(figure).print_svg(drawn[".svg"], metadata=undated)
    plt.close(figure)
    for suffix, buffer in drawn.items():  # both or none
        atomic.write_bytes(path.with_name(path.name + suffix), buffer.getvalue())
    return path.with_name(f"{path.name}.png")


def prepare(figure: Figure) -> None:
    """Finishes a figure, which is not drawn to again."""
    _fold_title(figure)
    literal.prepare(figure)


def _fold_title(figure: Figure) -> None:
    """Breaks the lines of a title that are longer than the figure is wide; a name may be long."""
    if title := getattr(figure, "_suptitle", None):
        columns = int(figure.get_figwidth() * 72 / (0.58 * title.get_fontsize()))
        lines = title.get_text().split("\n")
        title.set_text("\n".join(fill(line, columns) for line in lines))


def files(picture: Path) -> list[Path]:
    """Both files of a figure that :func:`save` has returned."""
    return [picture, picture.with_name(f"{picture.name.removesuffix('.png')}.svg")]


def logit_axis(axis: Axes, which: str) -> None:
    """An axis of AUC on which 0.99 and 0.999 are as far apart as 0.9 and 0.99.

    Arguments:
        axis: The axis with what is to be seen already drawn.
        which: ``x`` or ``y``.
    """
    data = logit(np.clip(getattr(axis.dataLim, f"interval{which}"), 1 - FURTHEST, FURTHEST))
    low, high = expit(data + np.array([-0.06, 0.06]) * np.ptp(data) + [-0.05, 0.05])
    axis.set(**{f"{which}scale": "logit", f"{which}lim": (low, high)})
    of_axis = getattr(axis, f"{which}axis")
    candidates = AREAS if which == "y" else AREAS_ACROSS
    ticks = [t for t in candidates if low <= t <= high]
    of_axis.set_ticks(ticks, [f"{t:g}" for t in ticks])
    of_axis.set_minor_locator(NullLocator())
    of_axis.set_label_text("AUC, logit scale")


def on_logit(value: float) -> float:
    """A logit scale has no place for 0 and 1."""
    return float(np.clip(value, 1 - FURTHEST, FURTHEST))


def panels(count: int, height: float, title: str) -> tuple[Figure, Any]:
    """A grid of ``count`` equal axes, three a line, or four where that would be tall.

    Arguments:
        count: The number of axes.
        height: Of one, in inches.
        title: Of their horizontal axes, which stands under the lowest ones.
    """
    columns = min(3 if count <= 12 else 4, count)
    lines = -(-count // columns)
    size = (WIDTH, 0.6 + height * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
    for axis in axes.flat[count:]:
        axis.axis("off")
    for axis in axes.flat[max(0, count - columns) : count]:
        axis.set_xlabel(title, fontsize=8 if columns < 4 else 7)
    return figure, axes
