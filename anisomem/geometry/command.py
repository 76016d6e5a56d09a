"""``anisomem geometry``: evaluates what is missing, then draws and judges everything.

Each step has a file beside this one: ``record``, ``evaluate``, ``analysis``, ``claims``,
``figures``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anisomem.config import catalog
from anisomem.config.schema import Config
from anisomem.console import progress
from anisomem.errors import UserError
from anisomem.geometry.captions import CAPTIONS
from anisomem.geometry.record import (
    EXTENT,
    FACTORS,
    LATENTS,
    SCALES,
    Extent,
    Recording,
    other_sizes,
)
from anisomem.models import families, hub
from anisomem.report import findings
from anisomem.report.findings import Findings, Part
from anisomem.report.folder import Draw, Folder
from anisomem.report.table import Table
from anisomem.report.tables import interval_text
from anisomem.run import labelled
from anisomem.run.devices import require_trained
from anisomem.storage import atomic
from anisomem.storage.manifest import Manifest

LARGE = 4 * 64 * 64  # dimensions taken for a model whose architecture is not here
KIND = "geometry"  # of the manifest in the folder
ABOUT = (
    "Claims about the geometry of the log-probability that memorization detectors rest on, each"
    " with the number that decides it and a verdict."
)
ANALYTIC = "analytic"  # what closed forms have in the place of a model
RULE = (
    "Supported: the 95% interval lies inside the region; not supported: outside; not decidable"
    " here: it reaches across its edge. Intervals: bootstrap over prompt clusters, of closed forms"
    " over components; a number without one is exact."
)
NOTES = [
    RULE,
    "High noise is the first step of the 50-step schedule, low noise the third-last, the published"
    " ones. Larger scores mean more memorized, and no sign is fitted.",
    "Along the input: cos(x, d), x the network's input; beside it: cos(u⊥, d), u⊥ the part of the"
    " prediction without prompt that is orthogonal to x. On pure noise that prediction is the same"
    " for all prompts, so that cos(x, u) is of one noise sample and has no interval.",
    "Noised: true latents, noised. They are the training picture's where the prompt set has it,"
    " else those of a picture that the model generates for the prompt.",
]


def geometry(overrides: Sequence[str], extent: Extent = EXTENT, command: str = "") -> str:
    """Evaluates, writes tables and figures, and returns the table of claims as Markdown.

    Arguments:
        overrides: The overrides of a run; the bundled models if they choose none.
        extent: How much is evaluated.
        command: The command that asked for it, as it was typed; "" where none did.

    Raises:
        UserError: Overrides that are wrong or choose detectors.
    """
    with progress.phase("reading the configuration", brief=True):
        configs = composed(overrides)
    if configs[0].dry_run:
        return plan(configs, extent).printed_turned()
    for config in configs:
        require_trained(config, "measurements")
    name = parent(overrides, configs)
    with progress.phase("reading the prompts and pictures", brief=True):
        recordings = [Recording(config, name, extent) for config in configs]
    for recording in recordings:
        if earlier := recording.earlier_folder:
            os.replace(earlier, recording.folder)
        if recording.missing():
            from anisomem.geometry.evaluate import complete

            complete(recording)
    return report(recordings, recordings[0].folder.parent, command)


def composed(overrides: Sequence[str]) -> list[Config]:
    """The configurations of the cases; the bundled models if nothing chooses them."""
    for override in overrides:
        if override.lstrip("+~").startswith("detector"):
            raise UserError(f"geometry measures no detectors; leave out {override!r}")
    if not any(o.startswith(("experiment=", "model=")) for o in overrides):
        overrides = [f"experiment={catalog.GEOMETRY}", *overrides]
    return labelled.judged(overrides)


def parent(overrides: Sequence[str], configs: Sequence[Config]) -> str:
    """The folder below ``runs``: geometry, or what it is of unless that is the usual."""
    return labelled.run_name(overrides, configs, "geometry", "-geometry")


def report(recordings: Sequence[Recording], folder: Path, command: str = "") -> str:
    """Tables and figures of complete recordings; the table of claims as Markdown.

    Written anew only where it was made of other recordings or with other settings.
    """
    made_of = folder / "report.json"
    table_settings = ("draws", "bootstrap_seed", "fpr_targets")
    content = {
        r.folder.name: {k: str(getattr(r.config, k)) for k in table_settings} for r in recordings
    }
    whole = Manifest(folder, KIND).standing() is not None
    if whole and (printed := _printed(made_of, content)):
        return printed
    with progress.phase("estimating and drawing"):
        return _report(recordings, folder, content, command)


def _printed(file: Path, content: dict[str, Any]) -> str | None:
    """The table of a report that was made of this; None where there is none."""
    try:
        report = atomic.read_json(file)
    except (OSError, UserError):  # a damaged one is made anew
        return None
    whole = isinstance(report, dict) and report.get("made_of") == content
    return str(report["printed"]) if whole and report.get("printed") else None


def _report(
    recordings: Sequence[Recording], folder: Path, content: dict[str, Any], command: str
) -> str:
    from anisomem.geometry import (
        claims,
        closed_figures,
        dials,
        figures,
        input_figures,
        tightness,
    )
    from anisomem.geometry.analysis import Analysis

    cells, theorem = dials.grid(), tightness.grid()
    judged = claims.of_closed_forms(cells, theorem)
    draws: dict[str, Draw] = {
        "dials": partial(closed_figures.over_dials, cells),
        "theorem": partial(closed_figures.theorem, theorem),
    }
    data: dict[str, list[dict[str, Any]]] = {
        "dials": [{"model": ANALYTIC, **asdict(cell)} for cell in cells],
        "theorem": [{"model": ANALYTIC, **asdict(cell)} for cell in theorem],
    }
    for recording in recordings:
        analysis = Analysis(recording)
        pairs = {on: analysis.pairs(on) for on in ("noise", "noised")}
        of_model = figures.all_of(analysis, pairs) | input_figures.all_of(analysis)
        draws |= {f"{name}-{recording.name}": draw for name, draw in of_model.items()}
        judged += claims.of_model(analysis, pairs)
        for name, rows in _data(analysis, pairs).items():
            of = {"model": recording.model}
            data.setdefault(name, []).extend({**of, **row} for row in rows)
    notes = [*NOTES, *_of_prompts(recordings)]
    cells_of = [claim.cells() for claim in judged]
    table = Table("Claims", claims.HEADINGS, cells_of, notes, above=("claim", "number"))
    with Folder(folder, KIND) as written:
        for name, rows in data.items():
            written.numbers(name, rows)
        written.table("claims", table)
        saved = written.figures(draws)
        findings.write(_findings(recordings, table), written, saved, command)
    printed, made_of = table.printed(), folder / "report.json"
    atomic.write_text(made_of, json.dumps({"made_of": content, "printed": printed}, indent=1))
    return printed


def _findings(recordings: Sequence[Recording], table: Table) -> Findings:
    """The page's content."""
    return Findings(
        f"Geometry: {', '.join(recording.title for recording in recordings)}",
        ABOUT,
        _of_prompts(recordings),
        [Part.of(recording) for recording in recordings],
        [table],
        CAPTIONS,
        key="claim",
    )


def _of_prompts(recordings: Sequence[Recording]) -> list[str]:
    """What a reader must know about the prompts."""
    cautions = [f"{r.title}: {caution}." for r in recordings for caution in r.prompts.cautions]
    return [*(_counted(recording) for recording in recordings), *cautions]


def _counted(recording: Recording) -> str:
    labels = recording.prompts.labels
    real = recording.with_picture & (labels == 1)
    return (
        f"{recording.title}: {int(labels.sum())} memorized prompts, {int(real.sum())} of them with"
        f" their training picture, and {int((labels == 0).sum())} others,"
        f" {int(recording.with_picture[labels == 0].sum())} with one; noise seed"
        f" {recording.config.seeds[0]}. Spectra of {recording.extent.spectra} prompts of each"
        " class."
    )


def _data(analysis: Any, pairs: Any) -> dict[str, list[dict[str, Any]]]:
    """Unrounded numbers by file."""
    recording, name = analysis.recording, analysis.name
    levels, overlaps, spectra = [], [], []
    for (measure, on), estimates in analysis.areas.items():
        for step, estimate in enumerate(estimates):
            levels.append(
                {
                    "prompts": name,
                    "measure": measure,
                    "on": on,
                    "step": step,
                    "t": recording.timesteps[step],
                    "auc": estimate.value,
                    "low": estimate.interval.low,
                    "high": estimate.interval.high,
                }
            )
    for on, rows in analysis.overlaps.items():
        for step, row in enumerate(rows):
            low, high = row.interval
            place = {"prompts": name, "on": on, "step": step, "tv": row.tv}
            more = {"tv_low": low, "tv_high": high, "kl": row.kl, "kl_error": row.error}
            overlaps.append(place | more)
    for of, columns in recording.spectra():
        for i in range(len(columns["level"])):
            prompt = "" if of is None else recording.prompts.ids[of]
            label = "" if of is None else int(recording.prompts.labels[of])
            numbers = {k: v[i].item() for k, v in columns.items() if k != "eigenvalues"}
            numbers |= _of_spectrum(numbers, columns["eigenvalues"][i], recording.size)
            spectra.append({"prompts": name, "id": prompt, "memorized": label, **numbers})
    chosen = [
        {
            "prompts": name,
            "on": on,
            "published": interval_text(p.published),
            "nested": interval_text(p.nested),
            "best here": p.auc.max(),
            "best pair": p.best,
            "chosen in folds": p.chosen,
            "optimism": p.optimism,
        }
        for on, p in pairs.items()
    ]
    return {
        "levels": levels,
        "overlap": overlaps,
        "spectra": spectra,
        "pairs": chosen,
        "sign": _signs(name, recording),
        "inputs": _inputs(name, analysis),
    }


def _of_spectrum(
    numbers: Mapping[str, float], eigenvalues: npt.NDArray[np.float64], size: int
) -> dict[str, Any]:
    """What follows from an index, and from eigenvalues where all of them are known."""
    whole = len(eigenvalues) == size and np.isfinite(eigenvalues).all()
    ends = np.abs(eigenvalues).max() / np.abs(eigenvalues).min() if whole else ""
    return {
        "participation_ratio": size * (1 - numbers["index"]),
        "variance": numbers["index"] * numbers["symmetric"] / size,  # Var λ = index · E λ²
        "condition_number": ends,
    }


def _inputs(name: str, analysis: Any) -> list[dict[str, Any]]:
    """AUC of the cosine's parts on other pure noise, a record per value and part."""
    records = []
    for varied, by_value in analysis.inputs.items():
        for value, parts in by_value.items():
            aligned = analysis.recording.inputs[varied][value]
            likeness = float(aligned.input_cosine.mean())
            for part, area in parts.items():
                place = {"prompts": name, "varied": varied, "value": value, "part": part}
                ends = {"low": area.interval.low, "high": area.interval.high}
                more = {"input_cosine": likeness, "gain": float(aligned.gain.mean())}
                records.append({**place, "auc": area.value, **ends, **more})
    return records


def _signs(name: str, recording: Recording) -> list[dict[str, Any]]:
    """Medians of what the cosine is made of, a record per latents, vectors, class and step."""
    records = []
    for on, vectors in product(LATENTS, ("output", "score")):
        parts = _parts_of_cosine(recording.alignment(on, vectors))
        for memorized, step in product((1, 0), range(len(recording.timesteps))):
            rows = recording.prompts.labels == memorized
            place = {"prompts": name, "on": on, "vectors": vectors, "memorized": memorized}
            medians = {part: float(np.median(v[rows, step])) for part, v in parts.items()}
            records.append({**place, "step": step, **medians})
    return records


def _parts_of_cosine(alignment: Any) -> dict[str, Any]:
    """What the cosine is made of, ``[N, steps]`` each."""
    return {
        "cosine": alignment.cosine,
        "relative_norm": alignment.relative_norm,
        "length": np.sqrt(alignment.cc / alignment.uu),
        "excess": alignment.excess,
        "equal_length": alignment.equal_length,
        "gain": alignment.gain,
        "input_cosine": alignment.input_cosine,
        "along_input": alignment.along_input,
        "rest": alignment.rest,
        "rest_product": alignment.rest_product,
        "along_rest": alignment.along_rest,
    }


def plan(configs: Sequence[Config], extent: Extent) -> Table:
    """What would be evaluated, counted without the models."""
    from anisomem.report.plan import prompts_of

    rows = []
    for config in configs:
        prompts = prompts_of(config)
        classes = [min(n, extent.per_class) for n in (prompts.memorized, prompts.others)]
        path, *_ = config.network
        here, outline = hub.present(*config.network), families.outline(path)
        d = prod(outline.latent_shape) if outline else LARGE
        inputs = len(SCALES) + len(other_sizes(outline.latent_shape) if outline else FACTORS)
        rows.append(
            [
                path,
                prompts.name,
                " / ".join(map(str, classes)),
                f"{sum(classes) * (7 * 50 + inputs) + len(LATENTS) * 50 + inputs:,}",
                f"{directional(d, extent, classes):,}",
                _bytes(0 if here else hub.size(*config.network), prompts.bytes),
            ]
        )
    headings = ["model", "prompts", "memorized / other", "NFE", "JVP", "to download"]
    notes = [
        "One noise seed. NFE: 50 steps on noise, 100 on each of three other latents, and one on"
        " noise of each other scale and size."
    ]
    return Table("Plan of geometry", headings, rows, notes)


def directional(d: int, extent: Extent, classes: Sequence[int]) -> int:
    """Directional derivatives of the spectra; Lanczos is counted at 60 steps of two."""
    from anisomem.geometry.evaluate import EXACT

    whole = d if d <= EXACT else 2 * extent.probes + 2 * 60
    probes = 2 * extent.probes
    at_whole = (
        len(extent.whole_levels) * whole + (len(extent.levels) - len(extent.whole_levels)) * probes
    )
    each = [min(n, extent.spectra) for n in classes]
    exact = [min(n, extent.whole) for n in each]
    rest = sum(each) - sum(exact)
    return at_whole * (3 * sum(exact) + 1) + 3 * rest * len(extent.levels) * probes


def _bytes(model: int | None, prompts: int) -> str:
    if model is None:
        return "unknown offline"
    return f"{(model + prompts) / 1e9:.3g} GB" if model + prompts else "nothing"
