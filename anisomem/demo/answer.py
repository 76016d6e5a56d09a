"""What the demo answers about a prompt: scores, a verdict, pictures, words, and a mitigation.

Nothing here knows of a page. Everything that answers share has been made in ``prepare``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import TYPE_CHECKING

from anisomem.datasets.files import require_text
from anisomem.demo.examples import Example, truth
from anisomem.demo.known import KnownPictures, Near
from anisomem.demo.scorer import Scorer
from anisomem.demo.verdict import Ordinary, Verdict
from anisomem.detection.base import Array
from anisomem.engine.batches import Batches
from anisomem.errors import UserError, unknown
from anisomem.mitigation.none import NoMitigation
from anisomem.run.workers import one_thread
from anisomem.tradeoff import one_prompt
from anisomem.tradeoff.one_prompt import Outcome, Sampled

if TYPE_CHECKING:
    from anisomem.datasets.prompts import PromptSet
    from anisomem.mitigation.base import Mitigation
    from anisomem.models.base import DiffusionModel

LONGEST = 500  # characters of a prompt
PICTURES = 4  # generated for a prompt
PLAIN = "none"  # what a mitigation is compared with


@dataclass(frozen=True)
class Scored:
    """A prompt's scores.

    Attributes:
        prompt: The prompt.
        scores: Its scores by detector.
        cosines: The alignment of the guidance with the prediction without prompt, by latent
            position, on the noise that the first picture begins with; ``[h, w]``.
        truth: What the model's own prompt set says of the prompt, "" if nothing.
        seconds: How long it took.
    """

    prompt: str
    scores: Mapping[str, float]
    cosines: Array
    truth: str
    seconds: float


@dataclass(frozen=True)
class Generated:
    """What the model makes of a prompt.

    Attributes:
        sampled: The pictures, one a seed, and how they were sampled.
        nearest: The nearest known training picture of each; none where none are known.
    """

    sampled: Sampled
    nearest: Sequence[Near]


@dataclass(frozen=True)
class Answer:
    """Everything that is said of a prompt at once."""

    scored: Scored
    generated: Generated


@dataclass(frozen=True)
class Word:
    """A word of a prompt, and what the score is without it.

    Attributes:
        text: The word, as it stands in the prompt.
        without: The score of the prompt without it; NaN where nothing else is left.
        change: How much the word adds to the score.
    """

    text: str
    without: float
    change: float


@dataclass(frozen=True)
class Mitigated:
    """A prompt before and after a mitigation, from the same noises.

    Attributes:
        before, after: How it is sampled, one a seed.
        nearest_before, nearest_after: As of :class:`Generated`.
    """

    before: Sequence[Outcome]
    after: Sequence[Outcome]
    nearest_before: Sequence[Near]
    nearest_after: Sequence[Near]


@dataclass
class Demo:
    """A model that is ready to be asked.

    Attributes:
        name: What the model is called.
        model: The model.
        scorer: What scores prompts.
        ordinary: The prompts that others are compared with.
        rates: The false-positive rates that these can tell, the usual one first.
        mitigations: What can be done about a prompt, by name.
        seeds: The seeds of the pictures' noise, the first being the scores'.
        steps, guidance: Of the trajectories.
        batches: Which know how many latents fit into a pass.
        known: The training pictures that are known, if any are.
        prompts: The model's own prompts with labels, if there are any.
        examples: Prompts to begin with.
    """

    name: str
    model: DiffusionModel
    scorer: Scorer
    ordinary: Ordinary
    rates: Sequence[float]
    mitigations: Mapping[str, Mitigation]
    seeds: Sequence[int]
    steps: int
    guidance: float
    batches: Batches
    known: KnownPictures | None = None
    prompts: PromptSet | None = None
    examples: Sequence[Example] = ()

    def answer(self, prompt: str) -> Answer:
        """Scores and pictures.

        Raises:
            UserError: As of :meth:`score`.
        """
        return Answer(self.score(prompt), self.generate(prompt))

    def score(self, prompt: str) -> Scored:
        """The scores, which take a moment, where pictures take seconds.

        Raises:
            UserError: The prompt is empty or too long.
        """
        asked, begin = readable(prompt), perf_counter()
        with one_thread():
            found = self.scorer([asked])
        values = {key: float(scores[0]) for key, scores in found.values.items()}
        seconds = perf_counter() - begin
        return Scored(asked, values, found.cosines[0], truth(self.prompts, asked), seconds)

    def verdict(self, scored: Scored, detector: str, rate: float) -> Verdict:
        """Whether a prompt stands out.

        Arguments:
            scored: The prompt's scores.
            detector: The detector's key.
            rate: The false-positive rate, one of :attr:`rates`.

        Raises:
            UserError: There is no such detector or rate, or the prompt has no score.
        """
        if detector not in scored.scores:
            raise unknown("detector", detector, scored.scores)
        if rate not in self.rates:
            known = ", ".join(f"{one:g}" for one in self.rates)
            raise UserError(f"the false-positive rate must be one of {known}; got {rate!r}")
        return self.ordinary.verdict(detector, scored.prompt, scored.scores[detector], rate)

    def verdicts(self, scored: Scored, rate: float) -> list[Verdict]:
        """What every detector says that has a score, in their order."""
        finite = [key for key, score in scored.scores.items() if isfinite(score)]
        return [self.verdict(scored, key, rate) for key in finite]

    def generate(self, prompt: str) -> Generated:
        """Pictures, with the nearest known training picture of each.

        Raises:
            UserError: The prompt is empty or too long, or memory ends.
        """
        sampled = self._sampled(readable(prompt), NoMitigation(PLAIN))
        return Generated(sampled, self._nearest(sampled))

    def words(self, prompt: str, detector: str) -> list[Word]:
        """Which words matter: the score of the prompt without each of them.

        Raises:
            UserError: The prompt is empty or too long, or there is no such detector.
        """
        if detector not in self.scorer.keys:
            raise unknown("detector", detector, self.scorer.keys)
        words = readable(prompt).split()
        rest = [" ".join([*words[:i], *words[i + 1 :]]) for i in range(len(words))]
        texts = list(dict.fromkeys(text for text in rest if text))
        with one_thread():
            found = self.scorer([" ".join(words), *texts]).values[detector]
        whole, scores = float(found[0]), dict(zip(texts, found[1:].tolist(), strict=True))
        without = [scores.get(text, float("nan")) for text in rest]
        return [Word(word, one, whole - one) for word, one in zip(words, without, strict=True)]

    def mitigate(self, prompt: str, generated: Generated, name: str) -> Mitigated:
        """The prompt sampled anew with a mitigation, from the same noises.

        Arguments:
            prompt: The prompt.
            generated: What the model makes of it without.
            name: The mitigation, of :attr:`mitigations`.

        Raises:
            UserError: A prompt that is empty or too long, no such mitigation, or memory ends.
        """
        asked = readable(prompt)
        if name not in self.mitigations:
            raise unknown("mitigation", name, self.mitigations)
        mitigation = self.mitigations[name]
        after = self._sampled(asked, mitigation)
        before = self._judged(asked, NoMitigation(PLAIN), generated.sampled)
        judged = self._judged(asked, mitigation, after)
        return Mitigated(before, judged, generated.nearest, self._nearest(after))

    def _sampled(self, prompt: str, mitigation: Mitigation) -> Sampled:
        with one_thread():
            return one_prompt.sampled(
                self.model,
                mitigation,
                prompt,
                self.seeds,
                self.batches,
                self.steps,
                self.guidance,
            )

    def _judged(self, prompt: str, mitigation: Mitigation, sampled: Sampled) -> list[Outcome]:
        with one_thread():
            return one_prompt.judged(self.model, mitigation, prompt, sampled, self.batches)

    def _nearest(self, sampled: Sampled) -> list[Near]:
        return self.known.nearest(sampled.pictures) if self.known else []


def readable(prompt: str) -> str:
    """A prompt without blanks around it.

    Raises:
        UserError: It is empty, no text, or longer than :data:`LONGEST`.
    """
    asked = prompt.strip()
    if not asked:
        raise UserError("the prompt is empty; type what a picture is to show")
    require_text("the demo", "the prompt", asked)
    if len(asked) > LONGEST:
        raise UserError(
            f"the prompt has {len(asked):,} characters; the demo takes {LONGEST} at most"
        )
    return asked
