"""One model with all mitigations: what is sampled, where it is kept, what is missing.

A trial only says what is asked; ``sampling`` and ``measuring`` do it, ``results`` reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from anisomem.config import own, values
from anisomem.config.schema import Config
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError
from anisomem.measures import training_pictures
from anisomem.measures.base import Measure, TrainingPictures
from anisomem.run import identity, labelled
from anisomem.run.base import Run, sources_of_model
from anisomem.run.identity import by_class_name
from anisomem.run.ordinary import draw
from anisomem.storage import atomic, digests
from anisomem.storage.store import FAILURE, ScoreStore
from anisomem.tradeoff.settings import PLAIN, Setting, expanded, measures

AT_ONCE = 16  # pictures sampled together

Pictures = npt.NDArray[np.uint8]
Task = tuple[int, list[int]]  # the index of a setting, and the rows of some prompts


class Trial(Run[PromptSet]):
    """Some prompts sampled with every setting of every mitigation, and measured.

    Arguments:
        config: The composed configuration.
        experiment: Its name, the parent folder.

    Raises:
        UserError: Settings that are wrong, or no prompts to judge copying on.
    """

    def __init__(self, config: Config, experiment: str) -> None:
        self.config = config
        values.check_words(config)
        self.settings = expanded(config)
        if not self.measures:
            raise UserError("no measure chosen; anisomem list measures names them")
        for measure in self.measures:
            if len(config.seeds) < measure.least:
                raise UserError(
                    f"{measure.name} compares the pictures of a prompt; give at least "
                    f"{measure.least} seeds, such as 'seeds=[42,43]', or leave it out"
                )
        self.whole = labelled.prompts(config)
        self.chosen = self._chosen()  # rows of the whole set
        prompts = self.whole.subset(self.chosen)
        built = [setting.build() for setting in self.settings]
        self.ordinary = draw(config, self.whole) if any(b.uses_ordinary for b in built) else []
        self.settings = [
            replace(
                setting,
                ordinary=self.ordinary if mitigation.uses_ordinary else (),
                sources=own.sources([mitigation]),
            )
            for setting, mitigation in zip(self.settings, built, strict=True)
        ]
        content = {
            **identity.describe(config, {}, prompts, sources=sources_of_model(config)),
            "stands_for": config.stands_for,  # chooses weights of the metric
            "steps": config.trial.steps,
            "guidance": config.trial.guidance,
        }
        rows = [*self.chosen, *(len(self.whole) + i for i in range(len(self.ordinary)))]
        if config.noise_policy == "per_prompt" and rows != list(range(len(rows))):
            content["noise_rows"] = rows
        super().__init__(config, experiment, prompts, content)
        self.sampled = ScoreStore(self.folder / "sampled", self.content)

    @cached_property
    def measures(self) -> list[Measure]:
        """What its pictures are judged by."""
        return measures(self.config)

    def sources(self) -> dict[str, dict[str, str]]:
        """Digests of code of the user's by the mitigation or measure that it is of."""
        by_user = {f"mitigation {one.label}": dict(one.sources) for one in self.settings}
        by_user |= {f"measure {one.name}": own.sources([one]) for one in self.measures}
        return {what: sources for what, sources in by_user.items() if sources}

    @cached_property
    def references(self) -> TrainingPictures:
        """The training pictures of the whole set's prompts."""
        return training_pictures.find_training_pictures(self.whole, self.config.paths.data)

    def _chosen(self) -> list[int]:
        """The rows that are sampled: memorized ones with a training picture, and others.

        Raises:
            UserError: None of a kind.
        """
        labels, settings = self.whole.labels, self.config.trial
        left = labelled.limited(self.whole, self.config.limit, self.config.limit_seed)
        memorized = [i for i in left if labels[i]]
        if any(measure.of_copies for measure in self.measures):
            known = self.references.pictures
            memorized = [i for i in memorized if self.whole.ids[i] in known]
            if not memorized:
                reason = next(iter(self.references.lacking.values()), "it names none")
                raise UserError(
                    f"no training picture of {self.whole.name!r} is at hand ({reason}); run "
                    "anisomem fetch NAME --pictures, or choose measures without one, such as "
                    "'measure=[moved]'"
                )
        others = [i for i in left if not labels[i]]
        chosen = self._drawn(memorized, settings.memorized, "memorized")
        return sorted(chosen + self._drawn(others, settings.others, "others"))

    def _drawn(self, rows: Sequence[int], count: int | None, what: str) -> list[int]:
        """Some rows, by the seed alone, from as many clusters as possible."""
        if count is None or (self.config.limit and count > len(rows)):
            return list(rows)
        if count > len(rows):
            raise UserError(
                f"trial.{what} is {count}, and {self.whole.name!r} has {len(rows)} to choose from"
            )
        rng = np.random.default_rng(self.config.trial.seed)
        order = [rows[i] for i in rng.permutation(len(rows))]
        _, first = np.unique(self.whole.clusters[order], return_index=True)
        apart = [order[i] for i in sorted(first)]
        return [*apart, *(i for i in order if i not in set(apart))][:count]

    @property
    def seeds(self) -> list[int]:
        """The seeds of a prompt's pictures, one each."""
        return list(self.config.seeds)

    def noise_seeds(self, row: int) -> list[int]:
        """The seeds that the noise of a prompt's pictures is drawn from."""
        return self._seeds_of_row(self.chosen[row])

    def ordinary_seeds(self) -> list[int]:
        """What the noise of every ordinary prompt is drawn from; they take turns at the seeds."""
        count = len(self.seeds)
        return [
            self._seeds_of_row(len(self.whole) + i)[i % count] for i in range(len(self.ordinary))
        ]

    def _seeds_of_row(self, row: int) -> list[int]:
        """The seeds, or for noise by prompt such that no two prompts share one."""
        own = row if self.config.noise_policy == "per_prompt" else 0
        return [seed + own * (max(self.seeds) - min(self.seeds) + 1) for seed in self.seeds]

    def key(self, setting: Setting, row: int) -> str:
        """The name that the numbers of a prompt's pictures are kept under."""
        return f"{setting.key}/{self.prompts.ids[row]}"

    def file(self, setting: Setting, row: int) -> Path:
        """A prompt's pictures side by side, in the order of the seeds."""
        name = digests.file_name(self.prompts.ids[row], ".png")
        return self.folder / "pictures" / setting.key / name

    def pictures(self, setting: Setting, row: int) -> Pictures:
        """A prompt's pictures, ``[S, H, W, 3]``."""
        try:
            with Image.open(self.file(setting, row), formats=["PNG"]) as strip:
                pixels = np.asarray(strip.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise atomic.damaged(self.file(setting, row)) from None
        return np.stack(np.split(pixels, len(self.seeds), axis=1))

    def keep(self, setting: Setting, row: int, pictures: Pictures) -> None:
        """Writes a prompt's pictures."""
        strip = Image.fromarray(np.concatenate(list(pictures), axis=1))
        atomic.write(self.file(setting, row), lambda path: strip.save(path, "PNG"))

    def missing(self) -> list[Task]:
        """What is to be sampled, cut the same way however often it is interrupted."""
        frame = self.sampled.read()
        if self.config.on_failure == "retry":
            frame = frame[frame[FAILURE].isna()]
        done, count = set(frame["prompt_id"]), max(1, AT_ONCE // len(self.seeds))
        rows = range(len(self.prompts))
        tasks = [
            (s, list(rows[begin : begin + count]))
            for begin in rows[::count]  # settings take turns, so that their times compare
            for s in range(len(self.settings))
        ]
        return [
            (s, some)
            for s, some in tasks
            for setting in [self.settings[s]]
            if not all(
                self.key(setting, i) in done and self.file(setting, i).exists() for i in some
            )
        ]

    def failures(self) -> dict[int, str]:
        """The rows of prompts that the model failed on with some setting, with the reason."""
        frame = self.sampled.read()
        failed = frame[frame[FAILURE].notna()]
        keys = {self.key(s, i): i for s in self.settings for i in range(len(self.prompts))}
        reasons = zip(failed["prompt_id"], failed[FAILURE], strict=True)
        return {keys[key]: str(reason) for key, reason in reasons if key in keys}

    def measured(self, measure: Measure) -> ScoreStore:
        """The store that keeps the numbers of a measure."""
        node = by_class_name(self.config.measure[measure.name])
        content: dict[str, Any] = {"measure": {**node, **measure.reads()}}
        content["sampled"] = self.content
        if sources := own.sources([measure]):
            content["sources"] = sources
        if measure.of_copies:
            content["references"] = self.references.digest
        name = f"{measure.name}-{digests.digest(content)[:10]}"
        return ScoreStore(self.folder / "measured" / name, content)

    def rows_of(self, measure: Measure) -> list[int]:
        """The prompts that a measure is asked about."""
        if not measure.of_copies:
            return list(range(len(self.prompts)))
        known = self.references.pictures
        labels, ids = self.prompts.labels, self.prompts.ids
        return [i for i in range(len(ids)) if labels[i] and ids[i] in known]

    @property
    def plain(self) -> Setting:
        """The setting that samples without a mitigation."""
        return next(setting for setting in self.settings if setting.name == PLAIN)
