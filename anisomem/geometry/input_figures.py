"""Pictures of what lies along the network's input, and of other inputs.

The other pictures of a model are in ``figures``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from anisomem.geometry.analysis import PARTS, Analysis
from anisomem.geometry.figures import CLASSES, WORDS, finished, quartiles
from anisomem.geometry.record import LATENTS
from anisomem.report.style import COLOURS, WIDTH


def all_of(analysis: Analysis) -> dict[str, Callable[[], Figure]]:
    """Both pictures, by name and not drawn yet."""
    return {
        "input": partial(along_input, analysis),
        "inputs": partial(other_inputs, analysis),
    }


def along_input(analysis: Analysis) -> Figure:
    """What of prediction and guidance lies along the network's input, by step and latents."""
    figure, axes = plt.subplots(
        5, 4, figsize=(WIDTH, 7.4), layout="constrained", sharex=True, sharey="row"
    )
    for column, on in zip(axes.T, LATENTS, strict=True):
        aligned = analysis.recording.alignment(on, "score")
        parts = {
            "g": aligned.gain,
            "cos(x, u)": aligned.input_cosine,
            "cos(x, d)": aligned.along_input,
            "‖u⊥‖ / ‖u‖": aligned.rest / np.sqrt(aligned.uu),
            "cos(u⊥, d)": aligned.along_rest,
        }
        for axis, (name, values) in zip(column, parts.items(), strict=True):
            for memorized, word, colour in CLASSES:
                quartiles(axis, values[analysis.memorized == memorized], colour, word)
            axis.axhline(0, color="0.6", linewidth=0.8)
            axis.grid(color="0.92")
            axis.tick_params(labelsize=7)
            axis.set_ylabel(name if on == LATENTS[0] else "", fontsize=8)
        column[0].set_title(WORDS[on], fontsize=8)
        column[-1].set_xlabel("step (0: noisiest)", fontsize=8)
    title = "of scores; x points away from the noise; bands are quartiles of prompts"
    return finished(figure, axes, f"{analysis.title}, {title}")


def other_inputs(analysis: Analysis) -> Figure:
    """AUC of the cosine's parts on pure noise of other scales and of other sizes."""
    words = {"scale": "factor of the noise", "side": "longer side of the latents"}
    # A network that takes one size alone has nothing to compare there.
    shown = {name: varied for name, varied in analysis.inputs.items() if len(varied) > 1}
    figure, axes = plt.subplots(
        1, len(shown), figsize=(WIDTH, 3.4), layout="constrained", sharey=True, squeeze=False
    )
    for axis, (name, varied) in zip(axes[0], shown.items(), strict=True):
        values = list(varied)
        for i, part in enumerate(PARTS):
            areas = [varied[value][part] for value in values]
            low, high = ([getattr(a.interval, end) for a in areas] for end in ("low", "high"))
            axis.fill_between(values, low, high, color=COLOURS[i], alpha=0.15, linewidth=0)
            axis.plot(values, [a.value for a in areas], "o-", ms=3, color=COLOURS[i], label=part)
        inputs = analysis.recording.inputs[name]
        likeness = [float(inputs[value].input_cosine.mean()) for value in values]
        axis.plot(values, likeness, "k:", label="mean cos(x, u)")
        axis.axhline(0.5, color="0.6", linewidth=0.8)
        axis.set_xscale("log")
        axis.set_xticks(values, [f"{value:g}" for value in values])
        axis.minorticks_off()
        axis.set_xlabel(words[name], fontsize=8)
        axis.grid(color="0.92")
        axis.tick_params(labelsize=7)
    axes[0, 0].set_ylabel("AUC", fontsize=8)
    return finished(figure, axes, f"{analysis.title}, third-last step, same weights")
