"""The claims as statements about one number each, and what measured intervals say of them.

A claim names a region of the number's values. It is *supported* where the 95% interval lies
inside the region, *not supported* where it lies outside, and *not decidable here* where it
reaches across the region's edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf, isfinite, isnan

import numpy as np

from anisomem.evaluation import Estimate, Evaluation, Interval
from anisomem.geometry import dials, overlap
from anisomem.geometry.alignment import InputAlignment
from anisomem.geometry.analysis import MEASURES, RELEASED, Analysis, Pairs
from anisomem.geometry.record import HIGH, LATENTS, LOW
from anisomem.geometry.tightness import Cell

HEADINGS = ("claim", "of", "on", "number", "region", "measured", "verdict")
SUPPORTED, NOT_SUPPORTED, OPEN = "supported", "not supported", "not decidable here"
UNINFORMATIVE = (0.4, 0.6)  # AUC that would say nothing of use
#: Printed by the paper for its norm distributions at high and low noise, and the total variation
#: of the densities that it plots, digitised.
PRINTED = {"high noise": (0.1664, 0.82), "low noise": (0.0224, 0.59)}


@dataclass(frozen=True)
class Claim:
    """A statement with its evidence.

    Attributes:
        text: The statement that is tested.
        source: Model or closed form.
        on: The latents that it speaks of.
        number: What is measured.
        region: Where the number lies if the statement is true.
        value, low, high: The number with its 95% interval; equal for what is exact, NaN and
            infinite for what was not measured.
    """

    text: str
    source: str
    on: str
    number: str
    region: tuple[float, float]
    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """The verdict by the rule of this module."""
        least, most = self.region
        if least <= self.low and self.high <= most:
            return SUPPORTED
        if self.high < least or self.low > most:
            return NOT_SUPPORTED
        return OPEN

    def cells(self) -> list[str]:
        """The claim's cells in a table."""
        least, most = self.region
        bound = f"≥ {least:g}" if not isfinite(most) else f"≤ {most:g}"
        if isfinite(least) and isfinite(most):
            bound = f"{least:g} to {most:g}"
        shown = f"{self.value:.3f}"
        if isnan(self.value):
            shown = "not measured"
        elif self.low != self.high:
            shown += f" [{self.low:.3f}, {self.high:.3f}]"
        return [self.text, self.source, self.on, self.number, bound, shown, self.verdict]


def of_model(analysis: Analysis, pairs: Mapping[str, Pairs]) -> list[Claim]:
    """Every claim about a model; ``pairs`` by latents."""
    return [
        *_norms(analysis),
        *_alignment(analysis),
        *_inputs(analysis),
        *_stand_ins(analysis),
        *_spectra(analysis),
        *_steps(analysis, pairs),
    ]


def _norms(a: Analysis) -> list[Claim]:
    claims = []
    for on in ("noise", "noised"):
        norm = a.areas["norm", on]
        claims += [
            _claim("the norm separates at high noise", a, on, "AUC", (0.5, inf), norm[HIGH]),
            _claim(
                "the norm is uninformative at low noise", a, on, "AUC", UNINFORMATIVE, norm[LOW]
            ),
            _claim("the norm is reversed at low noise", a, on, "AUC", (0, 0.5), norm[LOW]),
        ]
        high, low = a.overlaps[on][HIGH], a.overlaps[on][LOW]
        spread = np.quantile(high.draws - low.draws, [0.025, 0.975]).tolist()
        text = "norms of the two classes overlap more at low noise than at high"
        claims.append(
            Claim(text, a.name, on, "TV high − TV low", (0, inf), high.tv - low.tv, *spread)
        )
    return claims


def _alignment(a: Analysis) -> list[Claim]:
    claims = []
    for on in LATENTS:
        area = a.areas[RELEASED, on][LOW]
        text = "memorized prompts are more aligned at low noise"
        claims.append(_claim(text, a, on, f"AUC, {RELEASED}", (0.5, inf), area))
        area = a.areas["cosine, scores", on][LOW]
        claims.append(_claim(text, a, on, "AUC, cosine, scores", (0.5, inf), area))
    for on in ("noise", "noised"):
        for memorized, word, region in (
            (True, "positive", (0, inf)),
            (False, "negative", (-1, 0)),
        ):
            mean, low, high = a.mean(
                MEASURES["cosine, scores"](a.recording, on)[:, LOW], memorized
            )
            who = "memorized" if memorized else "other"
            text = f"the alignment of {who} prompts at low noise is {word}"
            numbers = (float(mean), float(low), float(high))
            claims.append(Claim(text, a.name, on, "mean cosine, scores", region, *numbers))
        turned = a.recording.alignment(on, "score").equal_length[:, LOW]
        area = a.evaluation(turned[None]).summaries()[0].auc
        text = "were both predictions equally long, memorized prompts would be less aligned"
        claims.append(_claim(text, a, on, "AUC, cosine at equal length", (0, 0.5), area))
        excess = a.median(a.recording.alignment(on, "score").excess[:, LOW], True)
        text = "a memorized prompt lengthens the score by more than the guidance is long"
        claims.append(_claim(text, a, on, "median excess", (1, inf), excess))
    return claims


def _inputs(a: Analysis) -> list[Claim]:
    """What of the cosine's sign lies along the network's input, and what of it beside."""
    claims = []
    for on in LATENTS:
        aligned = a.recording.alignment(on, "score")
        low = InputAlignment(*(getattr(aligned, f.name)[:, LOW] for f in fields(aligned)))
        text = "the prediction without prompt takes its input for noise"
        numbers = (float(n) for n in a.mean(low.input_cosine, True))
        claims.append(Claim(text, a.name, on, "mean cos(x, u), memorized", (0.9, 1), *numbers))
        parts = a.parts(low)
        for text, number, region in (
            ("memorized prompts are more aligned along the input", "cos(x, d)", (0.5, inf)),
            (
                "the alignment along the input alone detects memorized prompts",
                "cos(x, d)",
                (0.9, inf),
            ),
            ("memorized prompts are less aligned beside the input", "cos(u⊥, d)", (0, 0.5)),
        ):
            claims.append(_claim(text, a, on, f"AUC, {number}", region, parts[number]))
    scaled, sized = a.inputs["scale"], a.inputs["side"]
    smallest = min(scaled)
    text = f"memorized prompts are more aligned along an input of {smallest:g} times the noise"
    area = scaled[smallest]["cos(x, d)"]
    claims.append(_claim(text, a, "noise", "AUC, cos(x, d)", (0.5, inf), area))
    if len(sized) > 1:
        own, largest = a.recording.latent_side, int(max(sized))
        sides = (a.recording.inputs["side"][side].cosine for side in (largest, own))
        gain = a.evaluation(np.stack(list(sides))).auc_difference(0, 1)
        ends = (gain.interval.low, gain.interval.high)
        text = "on larger latents the same network aligns memorized prompts more"
        number = f"AUC, cos(u, d), side {largest} − {own}"
        claims.append(Claim(text, a.name, "noise", number, (0, inf), gain.difference, *ends))
    return claims


def _stand_ins(a: Analysis) -> list[Claim]:
    """The noised latents of prompts without a training picture alone, all generated alike."""
    claims = []
    rows = np.flatnonzero(~a.recording.with_picture.astype(bool))
    if len(rows) == len(a.labels) or len(np.unique(a.labels[rows])) < 2:
        return []
    for text, measure, region in (
        ("the norm is uninformative at low noise", "norm", UNINFORMATIVE),
        ("memorized prompts are more aligned at low noise", "cosine, scores", (0.5, inf)),
    ):
        scores = MEASURES[measure](a.recording, "noised")[None, rows, LOW]
        area = a.evaluation(scores, rows).summaries()[0].auc
        claims.append(_claim(text, a, "noised, generated", f"AUC, {measure}", region, area))
    return claims


def _spectra(a: Analysis) -> list[Claim]:
    spectra, config = a.spectra, a.recording.config
    claims = []
    resampling = spectra.resampling(config.draws, config.bootstrap_seed)
    first, last = spectra.levels[0], spectra.levels[-1]
    for on in ("noise", "noised"):
        early, late = (spectra.values("index", n, on == "noise", True) for n in (first, last))
        weights = resampling.weights / resampling.weights.sum(axis=1, keepdims=True)
        low, high = np.quantile(weights @ (late - early), [0.025, 0.975])
        text = "the log-probability is more anisotropic at low noise than at high"
        mean = float((late - early).mean())
        numbers = (mean, float(low), float(high))
        claims.append(Claim(text, a.name, on, "anisotropy index, rise", (0, inf), *numbers))
        evaluation = Evaluation(
            late[None, None],
            spectra.labels,
            spectra.clusters,
            config.fpr_targets,
            config.draws,
            config.bootstrap_seed,
        )
        text = "memorized prompts make it more anisotropic at low noise"
        area = evaluation.summaries()[0].auc
        claims.append(_claim(text, a, on, "AUC, anisotropy index", (0.5, inf), area))
    return claims


def _steps(a: Analysis, pairs: Mapping[str, Pairs]) -> list[Claim]:
    claims = []
    for on, chosen in pairs.items():
        gain = chosen.gain
        text = "no choice of steps on other prompts improves on the published pair by over 0.01"
        ends = (gain.interval.low, gain.interval.high)
        claims.append(
            Claim(
                text,
                a.name,
                on,
                "AUC, nested − published",
                (-1, 0.01),
                gain.difference,
                *ends,
            )
        )
    return claims


def _claim(
    text: str, a: Analysis, on: str, number: str, region: tuple[float, float], estimate: Estimate
) -> Claim:
    interval: Interval = estimate.interval
    return Claim(text, a.name, on, number, region, estimate.value, interval.low, interval.high)


def of_closed_forms(cells: list[dials.Record], theorem: list[Cell]) -> list[Claim]:
    """The theorem's and the dials' claims, and the arithmetic of printed numbers."""
    source = "Gaussian pairs"
    violations = sum(cell.violations for cell in theorem)
    small = [c for c in theorem if c.displacement <= 0.1 and c.shrinkage <= 0.1 and c.chi == 1]
    typical = [c for c in theorem if c.displacement == 1 and c.shrinkage <= 0.1 and c.chi == 1]
    claims = [
        _exact("cos ≥ √(1 − r²) ≥ (1 − r)/(1 + r)", source, "noise", "violations", 0, violations),
        Claim(
            "a conditional that collapses near the mean is aligned to above 0.9",
            source,
            "noise",
            "least mean cosine",
            (0.9, inf),
            *3 * (min(c.cosine for c in small),),
        ),
        Claim(
            "one that collapses on a typical picture is, too",
            source,
            "noise",
            "mean cosine",
            (0.9, inf),
            *3 * (min(c.cosine for c in typical),),
        ),
        Claim(
            "the theorem speaks (r < 1) of one that collapses on a typical picture",
            source,
            "noise",
            "share of points",
            (0.95, 1),
            *3 * (min(c.speaks for c in typical),),
        ),
    ]
    for text, measure, t, on, region in (
        ("the norm separates at high noise", "norm", dials.HIGH, "noise", (0.5, inf)),
        ("the norm is reversed at low noise", "norm", dials.LOW, "noised", (0, 0.5)),
        ("the norm is reversed at low noise", "norm", dials.LOW, "noise", (0, 0.5)),
        ("HVP is reversed at low noise", "HVP", dials.LOW, "noised", (0, 0.5)),
        ("memorized are more aligned at low noise", "cosine", dials.LOW, "noise", (0.5, inf)),
        ("memorized are more aligned at low noise", "cosine", dials.LOW, "noised", (0.5, inf)),
        (
            "… also if prompts may only turn the score",
            "cosine at equal length",
            dials.LOW,
            "noise",
            (0.5, inf),
        ),
    ):
        for chi in (dials.CONDITION_NUMBERS[0], dials.CONDITION_NUMBERS[-1]):
            cell = next(
                c
                for c in cells
                if (c.condition_number, c.shrinkage, c.measure, c.t, c.on)
                == (chi, 0.1, measure, t, on)
            )
            family = f"mixtures, χ = {chi:g}"
            numbers = (cell.auc, cell.low, cell.high)
            claims.append(Claim(text, family, on, f"AUC, {measure}", region, *numbers))
    for level, (kl, tv) in PRINTED.items():
        least = overlap.least_kl(tv)
        text = f"the printed KL at {level} fits the plotted densities (TV {tv})"
        claims.append(Claim(text, "the paper", "its own", "KL", (least, inf), kl, kl, kl))
    return claims


def _exact(text: str, source: str, on: str, number: str, expected: float, value: float) -> Claim:
    return Claim(text, source, on, number, (expected, expected), value, value, value)
