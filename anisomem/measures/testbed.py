"""Measures of the bundled models' pictures: what they show, and whether they are copies.

They know the icons and captions of the bundled models and judge no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow.parquet as pq

from anisomem import testbed
from anisomem.datasets.images import decoded
from anisomem.errors import UserError
from anisomem.measures.base import Array, Generated, Measure, Statistic, TrainingPictures, mean
from anisomem.storage import digests
from anisomem.testbed import thresholds
from anisomem.testbed.captions import concepts_in

if TYPE_CHECKING:
    from anisomem.testbed.concepts import Recogniser
    from anisomem.testbed.ground_truth import Pictures

FIVE = 5


def _classifiers_read() -> dict[str, str]:
    inside = Path(testbed.__file__).parent
    return {name: digests.fingerprint(inside / name) for name in ("concepts", "concepts_large")}


@dataclass
class Concept(Measure):
    r"""Whether pictures show what the prompt names, by the bundled classifier of their size.

    The *rank* of a concept is the number of others that the classifier finds likelier, of
    :math:`K = 1445` at 32 pixels a side and 416 at 64; those that the same prompt names do not
    count.

    .. math:: \text{shown} = \frac{1}{m}\sum_{j=1}^m [\text{rank}_j < 5], \qquad
        \text{place} = 1 - \frac{2}{m}\sum_{j=1}^m \frac{\text{rank}_j}{K - m}

    for the :math:`m` concepts of the prompt. A place of 100% is the first, and a picture that has
    nothing to do with the prompt has 0 on average and shows a concept in 5 of K cases.

    Raises:
        UserError: A prompt that names no known concept, or pictures of another size.
    """

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (
            Statistic("concept's place", "fidelity", "place", mean, percent=True),
            Statistic("concept shown", "fidelity", "shown", mean, percent=True),
        )

    def reads(self) -> dict[str, str]:
        return _classifiers_read()

    def __call__(self, generated: Generated) -> dict[str, Array]:
        from anisomem.testbed.concepts import Recogniser

        classifier = Recogniser.of(generated.pictures)
        names = classifier.names
        asked = concepts_in(generated.text, names)
        if not asked:
            raise UserError(
                f"{self.name} judges captions of the bundled models, not {generated.text!r}"
            )
        ranks = classifier.ranks(generated.pictures, asked)
        return {
            "place": 1 - 2 * ranks.mean(axis=1) / (len(names) - len(asked)),
            "shown": (ranks < FIVE).mean(axis=1),
        }


@dataclass
class Background(Measure):
    """Whether pictures have the colour of the training picture's background.

    A trace of copying: the bundled models' captions name no colour. Both colours are what the
    bundled classifier finds likeliest of nine.
    """

    of_copies: ClassVar[bool] = True
    _classifier: Recogniser = field(init=False, repr=False, compare=False)
    _known: dict[str, int] = field(init=False, repr=False, compare=False)

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (Statistic("background's colour", "copying", "background", mean, percent=True),)

    def reads(self) -> dict[str, str]:
        return _classifiers_read()

    def start(self, references: TrainingPictures, device: str) -> None:
        from anisomem.testbed.concepts import Recogniser

        firsts = np.stack([pictures[0] for pictures in references.pictures.values()])
        self._classifier = Recogniser.of(firsts)
        colours = self._classifier.colours(firsts).tolist()
        self._known = dict(zip(references.pictures, colours, strict=True))

    def __call__(self, generated: Generated) -> dict[str, Array]:
        same = self._classifier.colours(generated.pictures) == self._known[generated.id]
        return {"background": same.astype(np.float64)}


@dataclass
class Reproduction(Measure):
    """Whether pictures reproduce the prompt's training picture, as its label was measured.

    Root-mean-square distance to the training picture, as the autoencoder renders it, below the
    threshold that the model's card states (colours in 0 to 1); a template's patch does not count.
    The label counts further training pictures of the concepts, which are not shipped.

    Arguments:
        folder: The folder of the bundled model.

    Raises:
        UserError: The model is not one of the bundled ones, or a prompt is not one of its own.
    """

    of_copies: ClassVar[bool] = True
    folder: str
    _threshold: float = field(init=False, repr=False, compare=False)
    _rendered: dict[str, tuple[Pictures, np.ndarray]] = field(
        init=False, repr=False, compare=False
    )

    @property
    def statistics(self) -> Sequence[Statistic]:
        return (Statistic("reproduced", "copying", "reproduced", mean, percent=True),)

    def reads(self) -> dict[str, str]:
        folder = Path(self.folder)
        found = {"folder": digests.fingerprint(folder)}
        if (file := folder / thresholds.NAME).exists():
            found["thresholds"] = digests.sha256_of_file(file)
        return found

    def start(self, references: TrainingPictures, device: str) -> None:
        from diffusers import AutoencoderKL

        from anisomem.testbed.ground_truth import mask, render

        file = Path(self.folder) / "prompts.parquet"
        if not file.exists() or not file.with_name(thresholds.NAME).exists():
            raise UserError(f"{self.name} judges the bundled models, and {self.folder} is none")
        self._threshold = thresholds.Thresholds.read(file.parent).single
        columns = ["id", "picture", "patch"]
        rows = [r for r in pq.read_table(file, columns=columns).to_pylist() if r["picture"]]
        pictures = [np.asarray(decoded(r["picture"]["bytes"], f"{file}, {r['id']}")) for r in rows]
        vae = AutoencoderKL.from_pretrained(self.folder, subfolder="vae").eval()
        rendered = render(vae, np.stack(pictures))
        self._rendered = {
            row["id"]: (picture[None], mask(picture, row["patch"]))
            for row, picture in zip(rows, rendered, strict=True)
        }

    def __call__(self, generated: Generated) -> dict[str, Array]:
        from anisomem.testbed.ground_truth import distances

        if generated.id not in self._rendered:
            raise UserError(
                f"{self.name} knows the training pictures of {self.folder}, and none of"
                f" prompt {generated.id!r}"
            )
        away = distances(generated.pictures, *self._rendered[generated.id])[:, 0]
        return {"reproduced": (away < self._threshold).astype(np.float64)}
