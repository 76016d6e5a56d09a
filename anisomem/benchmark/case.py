"""A case: one model on one prompt set with all its detectors, and what its store lacks of them.

A case only says what is asked and where it is kept. ``complete`` records it and ``results`` reads
it; what it has in common with trade-offs and the geometry is :class:`anisomem.run.base.Run`.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from anisomem.benchmark.entries import Entries, samples_of, sources
from anisomem.config import schema, values
from anisomem.config.schema import Config
from anisomem.datasets import kept
from anisomem.datasets.prompts import PromptSet
from anisomem.detection.base import Detector
from anisomem.detection.configured import detectors
from anisomem.detection.of_baseline import LACKS_BASELINE
from anisomem.engine.tensors import TensorFiles
from anisomem.errors import UserError, unknown
from anisomem.run import identity, labelled, ordinary, stored
from anisomem.run.base import PROMPTS, Run
from anisomem.storage import atomic, digests
from anisomem.storage.store import IDENTITY, ScoreStore

REFERENCE = "reference:"  # begins the ids of ordinary prompts


class Case(Run[PromptSet], Entries):
    """One model on one prompt set with all its detectors.

    What is recorded are its *entries*: the prompts of the set, then the ordinary prompts outside
    it that some detectors score relative to.

    Arguments:
        config: The settings of the run.
        experiment: Its name, the parent folder.
        references: Prompts that detectors take as ordinary; drawn if not given and asked for.
        prompts: The prompt set; the one that the settings name if not given.
        store: Where it is recorded already; the case is then what its store says.

    Raises:
        UserError: Settings that are wrong, or prompts that cannot be had.
    """

    def __init__(
        self,
        config: Config,
        experiment: str,
        references: Sequence[str] | None = None,
        prompts: PromptSet | None = None,
        store: ScoreStore | None = None,
    ) -> None:
        self.config = config
        require_sensible(config)
        if prompts is None:
            whole = labelled.prompts(config)
            rows = labelled.limited(whole, config.limit, config.limit_seed)
            prompts, limited = whole.subset(rows), len(rows) < len(whole)
        else:
            whole, rows, limited = prompts, list(range(len(prompts))), False
        for detector in self.configured:
            detector.require(config.stands_for)
        require_baseline(config, self.configured)
        if references is None and any(d.uses_references for d in self.configured):
            references = ordinary.draw(config, whole)
        self.references = list(references or [])
        # Noise by prompt is that of its row in the whole set, whatever a limit leaves of it.
        self.noise_rows = [*rows, *(len(whole) + i for i in range(len(self.references)))]
        self.samples = samples_of(self.configured)
        if store:
            content = dict(identity.carried_over(store.content))
        else:
            content = identity.describe(
                config, self.samples, prompts, self.references, self.sources()
            )
            if config.noise_policy == "per_prompt" and limited:
                content["noise_rows"] = self.noise_rows
        require_another(config, content)
        folder = store.folder.parent if store else None
        super().__init__(config, experiment, prompts, content, folder)
        self.store = store or ScoreStore(self.folder / "components", content)
        if taken := next((one for one in prompts.ids if one.startswith(REFERENCE)), None):
            raise UserError(
                f"the prompt id {taken!r} is called as ordinary prompts are; expected ids that do"
                f" not begin with {REFERENCE!r}"
            )
        for prompt in config.tensors:
            if prompt not in self.ids:
                raise unknown("prompt id in tensors", prompt, self.ids)

    @cached_property
    def configured(self) -> list[Detector]:
        """All its detectors."""
        return detectors(self.config.detector)

    def sources(self) -> dict[str, str]:
        """Digests of the user's code that records, for its identity."""
        return sources(self.config, self.configured)

    @property
    def tensors(self) -> TensorFiles:
        """The full evaluations of the prompts that the user names."""
        return TensorFiles(self.folder / "tensors", self.config.tensors)

    @classmethod
    def stored(cls, file: Path, allowed: Collection[str] = ()) -> Case:
        """The case whose configuration lies at ``file``; needs neither its model nor its place.

        Arguments:
            file: The stored configuration.
            allowed: What it may name besides, see :func:`anisomem.run.stored.read`.

        Raises:
            OutdatedError: A detector of the user's has changed since.
            UserError: The configuration is damaged or names code that is not allowed, or the
                store is of another schema version, of other prompts or of fewer components.
        """
        config = stored.read(file, allowed)
        store = ScoreStore.stored(file.parent / "components")
        content = identity.carried_over(store.content)
        if (version := content.get("version")) != identity.VERSION:
            raise UserError(
                f"{file.parent} is of schema version {version}, and this is {identity.VERSION}; "
                "run its command again"
            )
        if "calibration" in content:
            raise UserError(
                f"{file.parent} is a scan of prompts without labels; its command again prints it"
            )
        if not isinstance(references := content.get("references", []), list):
            raise atomic.damaged(store.folder / IDENTITY)
        kept_file = file.parent / PROMPTS
        prompts = kept.read(kept_file) if os.path.lexists(kept_file) else None
        case = cls(config, file.parent.parent.name, references, prompts, store)
        case.require_recorded(f"its {PROMPTS}" if prompts else f"dataset {case.name!r} now")
        now = case.sources()
        if differ := digests.differences(content.get("sources", {}), now):
            raise OutdatedError(
                f"{case.folder} was recorded with another {' and '.join(differ)} than there is "
                "now; its command again records anew",
                case,
            )
        return case

    def require_recorded(self, source: str) -> None:
        """Checks that the store is of the case's prompts, and has what its detectors read.

        Arguments:
            source: Where the prompts were taken from, in words.

        Raises:
            UserError: It is not, or has fewer noise samples.
        """
        if self.content.get("prompts") != identity.describe_prompts(self.prompts):
            raise UserError(f"{self.folder} was recorded on other prompts than {source} holds")
        recorded = self.content.get("components", {})
        for name, n in self.samples.items():
            if recorded.get(name, 0) < n:
                raise UserError(
                    f"{self.folder} holds {recorded.get(name, 0)} noise samples of {name}, and "
                    f"its configuration asks for {n}; run its command again"
                )

    @cached_property
    def texts(self) -> list[str]:
        """The entries' texts."""
        return [*self.prompts.texts, *self.references]

    @cached_property
    def ids(self) -> list[str]:
        """The entries' ids."""
        return [*self.prompts.ids, *(f"{REFERENCE}{i}" for i in range(len(self.references)))]


class OutdatedError(UserError):
    """A stored case was recorded with other code than there is now.

    Arguments:
        message: What differs.
        case: The case that differs.
    """

    def __init__(self, message: str, case: Case) -> None:
        super().__init__(message)
        self.case = case


def with_distinct_names(cases: Iterable[Case]) -> list[Case]:
    """The cases, each once; those of one name by as much of their folders' paths as differs."""
    different: dict[tuple[str, ...], Case] = {}
    for case in cases:
        same = different.setdefault(case.folder.resolve().parts, case)
        if same.config.text != case.config.text:
            raise UserError(
                f"{case.name} is there twice, with other settings that nothing recorded depends"
                " on; run it once with each, and give runs=FOLDER to one"
            )
    names = Counter(case.name for case in different.values())
    for parts, case in different.items():
        if names[case.name] > 1:
            depths = (
                depth
                for depth in range(1, len(parts) + 1)
                if sum(other[-depth:] == parts[-depth:] for other in different) == 1
            )
            case.name = "-".join(parts[-next(depths) :])
    return list(different.values())


def stored_cases(
    files: Iterable[Path],
    allowed: Collection[str] = (),
    optional: Collection[Path] = (),
    require: Callable[[Case], None] | None = None,
) -> list[Case]:
    """Stored cases; one that an edit has outdated is left out and said where it is there anew.

    Arguments:
        files: The configurations.
        allowed: What they may name besides, see :func:`anisomem.run.stored.read`.
        optional: Those that are left out and said where they cannot be read and others can.
        require: Refuses further ones, by a UserError.

    Raises:
        UserError: What :meth:`Case.stored` refuses.
    """
    cases: list[Case] = []
    refused: list[tuple[Path, UserError]] = []
    for file in files:
        try:
            case = Case.stored(file, allowed)
            if require:
                require(case)
            cases.append(case)
        except UserError as error:
            if file not in optional and not isinstance(error, OutdatedError):
                raise
            refused.append((file, error))
    for file, reason in refused:
        anew = isinstance(reason, OutdatedError) and any(
            (case.folder.parent, case.name) == (reason.case.folder.parent, reason.case.name)
            for case in cases
        )
        if not cases or not (anew or file in optional):
            raise reason
        named = "" if str(file.parent) in str(reason) else f"{file.parent}: "
        print(f"anisomem: left out: {named}{reason}", file=sys.stderr)
    return with_distinct_names(cases)


def require_baseline(config: Config, configured: Sequence[Detector]) -> None:
    """Checks that a second model is given where detectors compare with one, and only there.

    Raises:
        UserError: One lacks, or nothing compares with it; what to type.
    """
    comparing = [detector for detector in configured if detector.compares_models]
    path = config.baseline_model.path
    if comparing and not path:
        raise UserError(f"{comparing[0].name}: {LACKS_BASELINE}")
    if path and not comparing:
        raise UserError(
            f"no detector of the run compares with baseline_model.path={path}; give"
            " 'detector=[relative_wen]' or 'detector=[earlier_checkpoint]', or"
            " baseline_model.path=null"
        )


def require_another(config: Config, content: Mapping[str, Any]) -> None:
    """Checks that a second model is not the first.

    Arguments:
        config: The settings of the run.
        content: What its identity is made of.

    Raises:
        UserError: It is.
    """
    if identity.compares_with_itself(content):
        raise UserError(
            f"baseline_model.path={config.baseline_model.path} is the model itself, so every"
            " difference is 0; give an earlier checkpoint of it, or what it was tuned from"
        )


def require_sensible(config: Config) -> None:
    """Checks the settings of what only detects.

    Raises:
        UserError: Mitigations, a word that no setting knows, or a model without its place.
    """
    if config.mitigation:
        raise UserError("a run only detects; mitigations are of mitigate and generate")
    values.check_words(config)
    if missing := schema.missing(config.model, "model."):
        raise UserError(f"model needs a value for {', '.join(missing)}")
