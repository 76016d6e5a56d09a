"""Scores in the layout of the anisotropy paper's released code, read and written.

Its ``detect_mem.py`` leaves two tensors ``[prompts, 1]`` for each class of prompts and setting,
rows in the order of the prompt file, already averaged over the n noise samples::

    {set}_{mem|nmem}_gen{n}_mode{mode}_seed{seed}.pt          the norm
    {set}_{mem|nmem}_cosine_gen{n}_mode{mode}_seed{seed}.pt   the cosine

and its ``detect_eval.py`` reads them (rohanasthana/memorization-anisotropy, commit 97e991b).
"""

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import NoReturn

import numpy as np
import torch

from anisomem.benchmark.case import Case
from anisomem.benchmark.measured import Measured
from anisomem.benchmark.results import MEASURED, Results
from anisomem.config import compose
from anisomem.detection.anisotropy import Anisotropy
from anisomem.detection.base import Array
from anisomem.errors import UserError
from anisomem.storage import atomic
from anisomem.storage.store import Origin

#: Name of a set of prompts there: the model and the prompts here.
SETS = {
    "sd1": ("sd14", "sd14_webster500"),
    "sd2": ("sd20", "sd20_webster219"),
    "RV": ("realvis51", "realvis_90"),
}
#: What that code multiplies the norm by where we do not: it takes Realistic Vision, which predicts
#: noise, for a model of velocities, and multiplies its norm by sqrt(abar) / (1 - abar) at t = 981.
NORM = {"RV": 0.07643818009268735}
DETECTORS = tuple(f"anisotropy{suffix}" for suffix in ("", "_equal", "_fitted", "_norm", "_cos"))
CLASSES = {"mem": 1, "nmem": 0}
NAME = re.compile(r"(.+)_(mem|nmem)(_cosine)?_gen(\d+)_mode(.+)_seed(\d+)\.pt")


@dataclass(frozen=True)
class ReleasedSetting:
    """What one of the released code's runs was made with; sorts and groups its files."""

    set: str
    n: int
    mode: str


def file_name(setting: ReleasedSetting, kind: str, cosine: bool, seed: int) -> str:
    """A file's name; ``kind`` is ``mem`` or ``nmem``."""
    middle = "_cosine" * cosine
    return f"{setting.set}_{kind}{middle}_gen{setting.n}_mode{setting.mode}_seed{seed}.pt"


def settings(folder: Path) -> dict[ReleasedSetting, list[int]]:
    """The settings whose files lie in a folder, with their noise seeds.

    Raises:
        UserError: There are none.
    """
    seeds_by_setting: dict[ReleasedSetting, set[int]] = {}
    for path in sorted(folder.glob("*.pt")):
        if match := NAME.fullmatch(path.name):
            setting = ReleasedSetting(match[1], int(match[4]), match[5])
            seeds_by_setting.setdefault(setting, set()).add(int(match[6]))
    if not seeds_by_setting:
        raise UserError(
            f"no released scores in {str(folder)!r} (expected files like "
            f"{file_name(ReleasedSetting('sd1', 1, 'x,c|x'), 'mem', False, 42)})"
        )
    return {setting: sorted(seeds) for setting, seeds in seeds_by_setting.items()}


def load(folder: Path, overrides: Sequence[str], experiment: str) -> list[Case]:
    """One finished case for every setting in a folder, its store filled from the files.

    The samples of a mean are not in the files, so each of the n recorded samples is that mean and
    the case has rows for its own n alone.

    Arguments:
        folder: Where the files lie.
        overrides: The overrides as of ``anisomem run``; ``dataset=`` and ``model.stands_for=`` for
            sets of prompts that the released code does not name.
        experiment: Parent folder of the cases.

    Raises:
        UserError: A file is missing, is no tensor ``[prompts, 1]``, or has other prompts.
    """
    return [
        _import(folder, setting, seeds, overrides, experiment)
        for setting, seeds in settings(folder).items()
    ]


def _import(
    folder: Path,
    setting: ReleasedSetting,
    seeds: Sequence[int],
    overrides: Sequence[str],
    experiment: str,
) -> Case:
    names = [
        file_name(setting, kind, cosine, seed)
        for seed in seeds
        for kind in CLASSES
        for cosine in (False, True)
    ]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise UserError(f"{folder} lacks {missing[0]}, which belongs to the files that are there")
    contents = {name: sha256((folder / name).read_bytes()).hexdigest() for name in names}
    digest = sha256(json.dumps(contents).encode()).hexdigest()

    own = ["model=released_scores", f"model.scores={digest}", f"seeds={list(seeds)}"]
    own += [f"detector=[{','.join(DETECTORS)}]", "timing_repeats=0", "gallery=0"]
    for name in DETECTORS:
        own += [f"detector.{name}.n=[{setting.n}]", f"detector.{name}.mode='{setting.mode}'"]
    if setting.set in SETS:
        model, prompts = SETS[setting.set]
        own += [f"model.stands_for={model}", f"dataset={prompts}"]
    elif not any(override.startswith("dataset=") for override in overrides):
        known = ", ".join(SETS)
        raise UserError(
            f"which prompts are {setting.set!r}? (the released code names {known}); give "
            "dataset=NAME, as anisomem list datasets names it"
        )
    (composed,) = compose.cases([*own, *overrides])
    case = Case(composed, experiment)
    metric = next(d for d in case.configured if isinstance(d, Anisotropy))
    columns = {metric.norm_name: False, metric.cos_name: True}
    for seed in seeds if case.missing() else []:
        components = {
            name: _column(case, folder, setting, seed, cosine) for name, cosine in columns.items()
        }
        origin = Origin(1, "the released code", None, None)
        case.store.append(case.prompts.ids, seed, components, 0.0, origin)
    case.store.merge()
    Measured(provenance={"imported": contents}).write(case.folder / MEASURED)
    return case


def _column(case: Case, folder: Path, setting: ReleasedSetting, seed: int, cosine: bool) -> Array:
    """Reads both classes' numbers in the order of the case's prompts, ``[N, n]``."""
    labels, factor = case.prompts.labels, 1.0 if cosine else NORM.get(setting.set, 1.0)
    column = np.empty((len(labels), setting.n))
    for kind, label in CLASSES.items():
        path = folder / file_name(setting, kind, cosine, seed)
        rows = labels == label
        values = _tensor(path)
        if not isinstance(values, torch.Tensor) or values.shape != (rows.sum(), 1):
            shape = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values)
            raise UserError(
                f"{path} must be a tensor ({rows.sum()}, 1) for the prompts of "
                f"{case.prompts.name}, got {shape}"
            )
        column[rows] = values.double().numpy() / factor
    return column


def _tensor(path: Path) -> object:
    """What a file holds, on the CPU wherever it was saved.

    Raises:
        UserError: It is no file of torch, or holds more than tensors.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError, OSError) as error:
        raise UserError(f"{path} holds no tensor: {str(error).splitlines()[0]}") from None


def save(all_results: Sequence[Results], folder: Path) -> list[Path]:
    """Writes what cases have recorded as the released code would have, and returns the files.

    Of every anisotropy detector with the released convention, timesteps and no normalisation.

    Raises:
        UserError: No such detector, prompts that failed, or two cases whose files would have the
            same name.
    """
    written: list[Path] = []
    for results in all_results:
        exported = _export(results)
        if again := {folder / name for name in exported} & set(written):
            raise UserError(
                f"{results.folder} would write {sorted(again)[0].name} once more, since the names "
                "hold neither model nor precision; export the runs one by one"
            )
        for name, values in exported.items():
            tensor = torch.tensor(values, dtype=torch.float32)[:, None]
            content = io.BytesIO()
            torch.save(tensor, content)
            atomic.write_bytes(folder / name, content.getvalue())
            written.append(folder / name)
    if not written:
        raise UserError(
            "nothing to export: no anisotropy detector with convention=released, "
            "normalisation=none, norm_at=step:0, cos_at=step:-3 in these runs"
        )
    return written


def _export(results: Results) -> dict[str, Array]:
    """The numbers of one case by file name."""
    if results.failures:
        raise UserError(
            f"{results.folder}: {len(results.failures)} prompts failed, and the layout has no "
            "place for that; run it again with on_failure=retry"
        )
    names = {both: name for name, both in SETS.items()}
    what = (results.config.stands_for or "", results.prompts.name)
    tensors: dict[str, Array] = {}
    for detector in results.detectors:
        if not isinstance(detector, Anisotropy) or not _as_released(
            detector, results.case.samples
        ):
            continue
        named = names.get(what, results.prompts.name)
        setting = ReleasedSetting(named, detector.n, detector.mode)
        for seed in results.config.seeds:
            recorded = results.recorded(seed)
            for component, cosine in ((detector.norm_name, False), (detector.cos_name, True)):
                factor = 1.0 if cosine else NORM.get(named, 1.0)
                values = recorded.mean(component, detector.n) * factor
                for kind, label in CLASSES.items():
                    name = file_name(setting, kind, cosine, seed)
                    tensors[name] = values[results.prompts.labels == label]
    return tensors


def _as_released(detector: Anisotropy, samples: Mapping[str, int]) -> bool:
    reference = Anisotropy(detector.name, detector.n, mode=detector.mode)
    same = (detector.norm_name, detector.cos_name) == (reference.norm_name, reference.cos_name)
    return same and {detector.norm_name, detector.cos_name} <= set(samples)


def no_model(scores: str, stands_for: str | None) -> NoReturn:
    """The model that ``model=released_scores`` loads: none, since scores are there.

    Raises:
        UserError: Always: what is not among the scores cannot be computed from them.
    """
    raise UserError("model=released_scores has no network; what its files lack cannot be recorded")
