"""Pictures of a model's geometry.

The numbers are from ``analysis``; those of closed-form models are drawn in ``closed_figures``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anisomem.evaluation import Estimate
from anisomem.geometry.analysis import MEASURES, RELEASED, Analysis, Pairs
from anisomem.geometry.overlap import densities
from anisomem.geometry.record import HIGH, LATENTS, LOW, MAPPED
from anisomem.report.style import COLOURS, WIDTH, logit_axis, on_logit

Array = npt.NDArray[np.float64]
CLASSES = ((True, "memorized", COLOURS[0]), (False, "other", COLOURS[1]))
WORDS = {
    "noise": "pure noise",
    "noised": "noised true latents",
    "guided": "guided trajectory",
    "unguided": "unguided trajectory",
}
CHANNELS = (0, 1)  # that arrows show


def all_of(
    analysis: Analysis, pairs: Mapping[str, Pairs]
) -> dict[str, Callable[[], Figure | None]]:
    """Every picture of a model, by name and not drawn yet."""
    return {
        "levels": partial(levels, analysis),
        "norms": partial(norms, analysis),
        "overlap": partial(overlap, analysis),
        "alignment": partial(alignment, analysis),
        "sign": partial(sign, analysis),
        "repetitions": partial(repetitions, analysis),
        "spectra": partial(spectra, analysis),
        "anisotropy": partial(anisotropy, analysis),
        "maps": partial(maps, analysis),
        "pairs": partial(best_pairs, analysis, pairs),
    }


def levels(analysis: Analysis) -> Figure:
    """AUC of norm and cosines at every step on all latents, with pointwise bands."""
    figure, axes = _four()
    shown = ("norm", "cosine, scores", RELEASED)
    for axis, on in zip(axes.flat, LATENTS, strict=True):
        for i, measure in enumerate(shown):
            _auc_curve(axis, analysis.areas[measure, on], i, measure)
        axis.axhline(0.5, color="0.6", linewidth=0.8)
        logit_axis(axis, "y")
        _by_step(axis, on)
    return finished(figure, axes, f"{analysis.title}, AUC with pointwise 95% bands")


def norms(analysis: Analysis) -> Figure:
    """Histograms and densities of the norm at three levels on noise and noised latents."""
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 4.4), layout="constrained")
    steps = (HIGH, analysis.steps // 2, analysis.steps + LOW)
    for row_axes, on in zip(axes, ("noise", "noised"), strict=True):
        values = MEASURES["norm"](analysis.recording, on)
        for axis, step in zip(row_axes, steps, strict=True):
            v = values[:, step]
            density_of = densities(v, analysis.labels)
            bins = np.linspace(v.min(), np.quantile(v, 0.995), 40)
            for memorized, name, colour in CLASSES:
                own = v[analysis.memorized == memorized]
                axis.hist(own, bins, density=True, alpha=0.4, color=colour)
                density = density_of.memorized if memorized else density_of.others
                axis.plot(density_of.grid, density, color=colour, linewidth=1.2, label=name)
            area, common = analysis.areas["norm", on][step], analysis.overlaps[on][step]
            t = analysis.recording.timesteps[step]
            numbers = f"AUC {area.value:.3f}, TV {common.tv:.2f}, KL {common.kl:.2f}"
            title = f"{WORDS[on]}, t = {t:g}\n{numbers}"
            axis.set_title(title, fontsize=7)
            axis.set_xlim(bins[0], bins[-1])
            axis.set_yticks([])
            axis.tick_params(labelsize=7)
    axes[1, 1].set_xlabel("‖c − u‖ of outputs", fontsize=8)
    return finished(figure, axes, f"{analysis.title}, norm of the guidance")


def overlap(analysis: Analysis) -> Figure:
    """Total variation and Kullback-Leibler divergence of the norm at every step."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3), layout="constrained")
    steps = np.arange(analysis.steps)
    for i, (on, rows) in enumerate(analysis.overlaps.items()):
        tv, kl = (np.array([getattr(row, name) for row in rows]) for name in ("tv", "kl"))
        axes[0].plot(steps, tv, color=COLOURS[i], label=WORDS[on])
        ends = zip(*(row.interval for row in rows), strict=True)
        axes[0].fill_between(steps, *ends, color=COLOURS[i], alpha=0.18, linewidth=0)
        e = 1.96 * np.array([row.error for row in rows])
        axes[1].plot(steps, kl, color=COLOURS[i])
        axes[1].fill_between(steps, kl - e, kl + e, color=COLOURS[i], alpha=0.18, linewidth=0)
        axes[1].plot(steps, 2 * tv**2, ":", color=COLOURS[i], linewidth=1)
    axes[0].set(ylabel="total variation", ylim=(0, 1))
    axes[1].set_ylabel("KL (dotted: least by Pinsker)")
    for axis in axes:
        axis.set_xlabel("step (0: noisiest)")
        axis.grid(color="0.92")
    return finished(figure, axes, f"{analysis.title}, overlap of the norm's distributions")


def alignment(analysis: Analysis) -> Figure:
    """Mean cosine of both classes at every step on all latents, with bands."""
    figure, axes = _four()
    lines = {
        "flattened, scores": ("cosine, scores", "-"),
        "by position, outputs": (RELEASED, "--"),
    }
    for axis, on in zip(axes.flat, LATENTS, strict=True):
        for memorized, name, colour in CLASSES:
            for form, (measure, style) in lines.items():
                values = MEASURES[measure](analysis.recording, on)
                _mean_curve(axis, analysis, values, memorized, style, colour, f"{name}, {form}")
        axis.axhline(0, color="0.6", linewidth=0.8)
        _by_step(axis, on)
    for axis in axes[:, 0]:
        axis.set_ylabel("mean cosine", fontsize=8)
    return finished(figure, axes, f"{analysis.title}, cos(u, c − u), 95% bands")


def sign(analysis: Analysis) -> Figure:
    """What the sign of the cosine is made of: cos = q (E - 1) / 2, on scores."""
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 4.4), layout="constrained", sharex=True)
    for row_axes, on in zip(axes, ("noise", "noised"), strict=True):
        aligned = analysis.recording.alignment(on, "score")
        parts = {
            "relative norm q": aligned.relative_norm,
            "length ‖c‖ / ‖u‖": np.sqrt(aligned.cc / aligned.uu),
            "excess E (median)": aligned.excess,
        }
        for axis, (name, values) in zip(row_axes, parts.items(), strict=True):
            for memorized, word, colour in CLASSES:
                quartiles(axis, values[analysis.memorized == memorized], colour, word)
            axis.set_title(f"{name}\n{WORDS[on]}", fontsize=8)
            axis.grid(color="0.92")
            axis.tick_params(labelsize=7)
        row_axes[2].axhline(1, color="0.3", linewidth=0.8, linestyle=":")
        row_axes[2].set_ylim(-4, 8)
        row_axes[1].axhline(1, color="0.3", linewidth=0.8, linestyle=":")
    axes[1, 1].set_xlabel("step (0: noisiest)", fontsize=8)
    title = f"{analysis.title}: the cosine is positive where E > 1; bands are quartiles of prompts"
    return finished(figure, axes, title)


def repetitions(analysis: Analysis) -> Figure | None:
    """Cosine and excess at low noise by how often a prompt's picture was in training."""
    counts = analysis.recording.prompts.repetitions
    if counts is None or not counts.any():
        return None
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2), layout="constrained", sharey=True)
    repeated = counts > 0
    for axis, on in zip(axes, ("noise", "noised"), strict=True):
        values = MEASURES["cosine, scores"](analysis.recording, on)[:, LOW]
        for memorized, name, colour in CLASSES:
            rows = repeated & (analysis.memorized == memorized)
            axis.scatter(counts[rows], values[rows], 12, colour, alpha=0.7, label=name)
        never = values[~repeated]
        middle = np.quantile(never, [0.25, 0.75])
        axis.axhspan(*middle, color="0.85", label="not repeated, quartiles", zorder=0)
        axis.axhline(0, color="0.5", linewidth=0.8)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel("repetitions in training")
        axis.set_title(WORDS[on], fontsize=9)
    axes[0].set_ylabel("cosine, scores, third-last step", fontsize=8)
    return finished(figure, axes, f"{analysis.title}, alignment by repetitions")


def best_pairs(analysis: Analysis, pairs: Mapping[str, Pairs]) -> Figure:
    """AUC of every pair of steps in equal weights, with the published, best and chosen pairs."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.7), layout="constrained")
    for axis, (on, choice) in zip(axes, pairs.items(), strict=True):
        image = axis.imshow(choice.auc, cmap="cividis", interpolation="nearest")
        bar = figure.colorbar(image, ax=axis, shrink=0.75)
        bar.ax.tick_params(labelsize=7)
        _cross(axis, (HIGH, analysis.steps + LOW), "o", COLOURS[1], "published")
        for i, pair in enumerate(choice.chosen):
            _cross(axis, pair, "x", "white", None if i else "chosen in folds")
        _cross(axis, choice.best, "s", COLOURS[5], "best on these prompts")
        axis.set_title(
            f"{WORDS[on]}\nnested {choice.nested.value:.3f}, published "
            f"{choice.published.value:.3f}, best {choice.auc.max():.3f}",
            fontsize=8,
        )
        axis.set_xlabel("cosine's step", fontsize=8)
    axes[0].set_ylabel("norm's step", fontsize=8)
    return finished(figure, axes, f"{analysis.title}, AUC of norm + cosine, equal weights")


def spectra(analysis: Analysis) -> Figure:
    """Eigenvalues of the Hessian where it was computed whole, or their ends."""
    recorded, extent = analysis.spectra, analysis.recording.extent
    shown = extent.whole_levels
    figure, axes = plt.subplots(
        2, len(shown), figsize=(WIDTH, 4.4), layout="constrained", sharex=True, squeeze=False
    )
    for row_axes, on_noise in zip(axes, (True, False), strict=True):
        for axis, level in zip(row_axes, shown, strict=True):
            for memorized, name, colour in CLASSES:
                for conditional, style in ((True, "-"), (False, ":")):
                    if on_noise and not conditional:
                        continue
                    values, scale = _eigenvalues(analysis, level, on_noise, conditional)
                    own = values[(recorded.labels == 1) == memorized]
                    label = f"{name}, {'with' if conditional else 'without'} prompt"
                    for i, row in enumerate(1 + scale**2 * own[np.isfinite(own).all(axis=1)]):
                        rank = np.linspace(0, 1, len(row))
                        kept = None if i else label
                        axis.plot(rank, row, style, color=colour, linewidth=0.9, label=kept)
            if on_noise:
                values, scale = _eigenvalues(analysis, level, True, False)
                rank = np.linspace(0, 1, values.shape[1])
                axis.plot(
                    rank, 1 + scale**2 * values[0], "k:", linewidth=1, label="without prompt"
                )
            kind = WORDS["noise" if on_noise else "noised"]
            t = analysis.recording.timesteps[level]
            axis.set_title(f"{kind}, t = {t:g}", fontsize=8)
            axis.grid(color="0.92")
            axis.tick_params(labelsize=7)
        row_axes[0].set_ylabel("1 + σ² λ", fontsize=8)
    axes[1, len(shown) // 2].set_xlabel("rank of the eigenvalue", fontsize=8)
    title = f"{analysis.title}, spectrum of ∇² log p; 0: as of pure noise, isotropic"
    return finished(figure, axes, title)


def anisotropy(analysis: Analysis) -> Figure:
    """The anisotropy index by level, mean over prompts with 95% intervals."""
    recorded, config = analysis.spectra, analysis.recording.config
    weights = recorded.resampling(config.draws, config.bootstrap_seed).weights.astype(np.float64)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2), layout="constrained", sharey=True)
    for axis, on_noise in zip(axes, (True, False), strict=True):
        for conditional, style in ((True, "-"), (False, ":")):
            columns = np.stack(
                [recorded.values("index", n, on_noise, conditional) for n in recorded.levels],
                axis=1,
            )
            if len(columns) == 1:
                axis.plot(recorded.levels, columns[0], "k:", label="without prompt")
                continue
            for memorized, name, colour in CLASSES:
                rows = (recorded.labels == 1) == memorized
                w = weights[:, rows] / weights[:, rows].sum(axis=1, keepdims=True)
                low, high = np.quantile(w @ columns[rows], [0.025, 0.975], axis=0)
                label = f"{name}, {'with' if conditional else 'without'} prompt"
                mean = columns[rows].mean(axis=0)
                axis.plot(
                    recorded.levels, mean, style, marker="o", ms=3, color=colour, label=label
                )
                axis.fill_between(
                    recorded.levels, low, high, color=colour, alpha=0.18, linewidth=0
                )
        axis.set(xlabel="step (0: noisiest)", yscale="log")
        axis.set_title(WORDS["noise" if on_noise else "noised"], fontsize=9)
        axis.grid(color="0.92")
    axes[0].set_ylabel("anisotropy index Var λ / E λ²", fontsize=8)
    return finished(figure, axes, f"{analysis.title}, anisotropy of ∇² log p")


def maps(analysis: Analysis) -> Figure:
    """Cosine by position and arrows of score and guidance over decoded true latents."""
    arrays = analysis.recording.read("maps")
    rows = len(arrays["pictures"])
    figure, axes = plt.subplots(rows, 5, figsize=(WIDTH, 1.35 * rows), layout="constrained")
    for i, row_axes in enumerate(axes):
        row_axes[0].imshow(arrays["pictures"][i])
        row_axes[0].set_ylabel("memorized" if i < MAPPED else "other", fontsize=7)
        for j, on in enumerate(("noise", "noised")):
            u, d = arrays["u"][j, i], arrays["c"][j, i] - arrays["u"][j, i]
            cosine = (u * d).sum(0) / np.linalg.norm(u, axis=0) / np.linalg.norm(d, axis=0)
            image = row_axes[1 + 2 * j].imshow(cosine, cmap="PuOr", vmin=-1, vmax=1)
            _arrows(row_axes[2 + 2 * j], u, d)
            if i == 0:
                row_axes[1 + 2 * j].set_title(f"cosine\n{WORDS[on]}", fontsize=7)
                row_axes[2 + 2 * j].set_title(f"u black, c − u\n{WORDS[on]}", fontsize=7)
            row_axes[1 + 2 * j].set_xlabel(f"mean {cosine.mean():+.2f}", fontsize=7, labelpad=1)
        for axis in row_axes:
            axis.set(xticks=[], yticks=[])
    figure.colorbar(image, ax=axes, shrink=0.4).ax.tick_params(labelsize=7)
    title = (
        f"{analysis.title}, scores at the third-last step; arrows: channels 1 and 2, each scaled"
    )
    figure.suptitle(title, fontsize=9)
    return figure


def _arrows(axis: Axes, u: Array, d: Array) -> None:
    """Two channels of both fields, each in units of its own largest length."""
    h, w = u.shape[1:]
    step = max(1, h // 16)  # so many arrows that they can be told apart
    y, x = np.mgrid[0:h:step, 0:w:step]
    for field, colour in ((u, "black"), (d, COLOURS[1])):
        a, b = (field[c, ::step, ::step] for c in CHANNELS)
        size = np.hypot(a, b).max()
        axis.quiver(
            x, y, a / size, b / size, color=colour, scale=1 / (1.2 * step), scale_units="xy",
            angles="xy", width=0.012,
        )  # fmt: skip
    axis.set(xlim=(-1, w), ylim=(h, -1), aspect="equal")


def _eigenvalues(
    analysis: Analysis, level: int, on_noise: bool, conditional: bool
) -> tuple[Array, float]:
    """``[n, k]`` and the noise's scale."""
    recorded = analysis.spectra
    sigma = recorded.values("sigma", level, on_noise, conditional)
    return recorded.values("eigenvalues", level, on_noise, conditional), float(sigma[0])


def _auc_curve(axis: Axes, estimates: Sequence[Estimate], i: int, label: str) -> None:
    steps = np.arange(len(estimates))
    low, high = (
        [on_logit(getattr(e.interval, end)) for e in estimates] for end in ("low", "high")
    )
    axis.fill_between(steps, low, high, color=COLOURS[i], alpha=0.18, linewidth=0)
    values = [on_logit(e.value) for e in estimates]
    axis.plot(steps, values, ("-", "--", ":")[i], color=COLOURS[i], linewidth=1.4, label=label)


def _mean_curve(
    axis: Axes,
    analysis: Analysis,
    values: Array,
    memorized: bool,
    style: str,
    colour: str,
    label: str,
) -> None:
    mean, low, high = analysis.mean(values, memorized)
    steps = np.arange(len(mean))
    axis.plot(steps, mean, style, color=colour, linewidth=1.2, label=label)
    axis.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def quartiles(axis: Axes, values: Array, colour: str, label: str) -> None:
    """The median over prompts ``[n, steps]`` with the quartiles around it."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    steps = np.arange(len(middle))
    axis.plot(steps, middle, color=colour, label=label)
    axis.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)


def _cross(axis: Axes, pair: tuple[int, int], marker: str, colour: str, label: str | None) -> None:
    axis.plot(
        pair[1], pair[0], marker, color=colour, markeredgecolor="black" if marker != "x" else None,
        markersize=6, label=label, clip_on=False,
    )  # fmt: skip


def _four() -> tuple[Figure, Any]:
    return plt.subplots(2, 2, figsize=(WIDTH, 5.2), layout="constrained", sharex=True)


def _by_step(axis: Axes, on: str) -> None:
    axis.set_title(WORDS[on], fontsize=9)
    axis.grid(color="0.92")
    axis.tick_params(labelsize=7)
    axis.set_xlabel("step (0: noisiest)", fontsize=8)
    axis.yaxis.label.set_fontsize(8)


def finished(figure: Figure, axes: Any, title: str) -> Figure:
    """The figure with a title and one legend below of all that the axes name."""
    named: dict[str, Any] = {}
    for axis in np.ravel(axes):
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    figure.suptitle(title, fontsize=10)
    legend = figure.legend(
        list(named.values()), list(named), fontsize=8, ncols=3, loc="outside lower center"
    )
    legend.get_frame().set_facecolor("0.9" if "chosen in folds" in named else "white")
    return figure
