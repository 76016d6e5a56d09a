"""The pictures of an answer: scores among ordinary ones, and the alignment over a picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from anisomem.demo.verdict import Ordinary, Verdict
from anisomem.detection.base import Array
from anisomem.measures.base import Picture
from anisomem.report import literal, page
from anisomem.report.style import COLOURS, GREY
from anisomem.report.tables import percent

INCHES, DPI = (4.6, 1.25), 180  # of the scores of one detector; so narrow that a phone shows it
BINS = 32
ALIGNMENT = "RdBu_r"  # blue, white, red: opposite, across, the same way
OPACITY = 0.6  # of the map over the picture
FLAGGED, QUIET = COLOURS[1], COLOURS[0]


def colour(verdict: Verdict) -> str:
    """The colour of a prompt that stands out, or does not."""
    return FLAGGED if verdict.flagged else QUIET


def distributions(ordinary: Ordinary, prompt: str, verdicts: Sequence[Verdict]) -> str:
    """The prompt's scores among those of ordinary prompts, a PNG in base64.

    Arguments:
        ordinary: The ordinary prompts.
        prompt: The prompt.
        verdicts: What each detector says of the prompt.
    """
    width, height = INCHES
    figure = Figure(figsize=(width, height * len(verdicts)), layout="constrained")
    rows = np.ravel(figure.subplots(len(verdicts), 1, squeeze=False))
    for axis, one in zip(rows, verdicts, strict=True):
        others = ordinary.calibration(one.detector, prompt)
        edges = np.histogram_bin_edges(np.append(others, one.score), BINS)
        axis.hist(others, edges, color=GREY)
        rate = percent(one.threshold.rate)
        axis.axvline(one.threshold.value, color="0.2", lw=1, ls="--", label=f"threshold, {rate}")
        axis.axvline(one.score, color=colour(one), lw=2.5, label="this prompt")
        axis.set_title(one.detector, fontsize=9, loc="left")
        axis.set_yticks([])
        axis.tick_params(labelsize=8)
        for side in ("left", "right", "top"):
            axis.spines[side].set_visible(False)
    rows[0].legend(fontsize=8, frameon=False, loc="best")
    rows[-1].set_xlabel("score; larger: more memorized", fontsize=8)
    literal.prepare(figure)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    return base64.b64encode(drawn.getvalue()).decode()


def aligned(picture: Picture, cosines: Array, limit: float) -> str:
    """The alignment map over a picture, a PNG in base64.

    Arguments:
        picture: The picture, ``[H, W, 3]``.
        cosines: The alignment by latent position, ``[h, w]``.
        limit: The absolute cosine that has the full colour.
    """
    unit = np.nan_to_num(cosines / max(limit, 1e-12)).clip(-1, 1) / 2 + 0.5
    colours: npt.NDArray[np.float64] = mpl.colormaps[ALIGNMENT](unit)[..., :3] * 255
    size = (page.SIDE, page.SIDE * picture.shape[0] // picture.shape[1])
    over = Image.fromarray(colours.round().astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    how = Image.Resampling.NEAREST if is_small(picture) else Image.Resampling.BICUBIC
    below = Image.fromarray(picture).resize(size, how)
    return page.picture(Image.blend(below, over, OPACITY))


def scale() -> str:
    """The colours of the map from left to right, for a style sheet."""
    stops = mpl.colormaps[ALIGNMENT](np.linspace(0, 1, 9))
    return ", ".join(mpl.colors.to_hex(stop) for stop in stops)


def shown(picture: Picture) -> str:
    """A picture as a page holds it, a PNG in base64."""
    return page.picture(Image.fromarray(picture))


def is_small(picture: Picture) -> bool:
    """Whether a picture is enlarged pixel by pixel, so that nothing is seen that is not there."""
    return max(picture.shape[:2]) < page.SIDE
