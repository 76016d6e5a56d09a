"""What the model generates for the prompts that a scan flags, made once and kept."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from anisomem.benchmark import gallery
from anisomem.benchmark.gallery import PICTURES
from anisomem.errors import UserError
from anisomem.run import forked
from anisomem.storage import atomic, digests

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel
    from anisomem.scan.found import Found

FILE = "pictures.npz"


@dataclass(frozen=True)
class Pictures:
    """Generated pictures.

    Attributes:
        rows: The distinct prompts that they are of.
        pictures: uint8 ``[G, PICTURES, H, W, 3]``.
    """

    rows: Sequence[int]
    pictures: npt.NDArray[np.uint8]


def rows(found: Found) -> list[int]:
    """The flagged prompts that have pictures: the highest, ``gallery`` of them."""
    flagged = found.order[found.flagged[found.order]]
    return [int(i) for i in flagged[: found.scan.config.gallery]]


def read(found: Found) -> Pictures | None:
    """The stored pictures, where they are those that are asked for; None else."""
    file, wanted = found.scan.folder / FILE, rows(found)
    if not wanted or not os.path.lexists(file):
        return None
    try:
        stored = atomic.read_arrays(file)
        said, pictures = json.loads(str(stored["plan"])), stored["pictures"]
    except (UserError, ValueError, KeyError, RecursionError):
        return None  # a scan makes them anew
    whole = pictures.dtype == np.uint8 and pictures.ndim == 5 and pictures.shape[-1] == 3
    whole = whole and pictures.shape[:2] == (len(wanted), PICTURES) and pictures.size > 0
    return Pictures(wanted, pictures) if whole and said == plan(found) else None


def generate(found: Found, model: DiffusionModel) -> None:
    """Makes and keeps them."""
    import torch

    from anisomem.run.workers import one_thread

    texts = [found.scan.text_of(i) for i in rows(found)]
    seeds = plan(found)["seeds"]
    with one_thread(), torch.inference_mode():
        jobs = gallery.picture_jobs(model, texts, seeds)
        on_cpu = model.device.type == "cpu"
        made = forked.each(jobs, f"{found.scan.name}: pictures", "part", on_cpu)
    stacked = np.concatenate(made)
    content = {
        "plan": json.dumps(plan(found)),
        "pictures": stacked.reshape(len(texts), PICTURES, *stacked.shape[1:]),
    }
    atomic.write_arrays(found.scan.folder / FILE, content)


def plan(found: Found) -> dict[str, Any]:
    """What they are of; another plan asks for other pictures."""
    config = found.scan.config
    return {
        "prompts": digests.digest({"of": [found.scan.text_of(i) for i in rows(found)]}),
        "seeds": gallery.seeds_behind(config.seeds, found.scan.size + found.scan.scanned.limited),
        "guidance": gallery.GUIDANCE,
        "steps": gallery.STEPS,
    }
