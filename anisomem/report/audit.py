"""What is wrong with a prompt set, and what its text alone gives away.

The prompts are read in :mod:`anisomem.datasets`, and no model is asked.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anisomem.config import compose
from anisomem.console import progress
from anisomem.datasets import cards, published, tokens, webster
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError
from anisomem.evaluation import auc, character_model, folds, text_only_scores, word_model
from anisomem.report import escape
from anisomem.report.table import Table
from anisomem.run import labelled
from anisomem.storage import atomic

SEEDS = range(5)  # of the folds
SPLITS = 5
TEXT_MODELS = {"words (TF-IDF)": word_model, "character n-grams": character_model}
CLASSIFIERS = (
    "TF-IDF and n-grams: mean ± SD of the AUC in 5 folds that keep clusters whole, over 5 seeds. "
    "Others: AUC without a fit; below 0.5 memorized prompts have less. CLIP lower-cases, so a "
    "model never sees capitals."
)

Floats = npt.NDArray[np.float64]


def audit(name: str, overrides: Sequence[str] = (), out: Path | None = None) -> str:
    """The tables of a prompt set as Markdown, written to ``out`` too.

    Arguments:
        name: The name of a configured dataset, or ``all`` for one table of the published sets and
            their variants.
        overrides: The overrides of its settings, such as ``dataset.variant=head``.
        out: A file, or None.

    Raises:
        UserError: An unknown name or setting, or what the set's own loader raises.
    """
    text = _every(overrides) if name == "all" else _one(name, overrides)
    if out:
        atomic.write_text(out, text)
    return text


def _configured(name: str, overrides: Sequence[str]) -> tuple[PromptSet, str | None]:
    """A configured prompt set, and the folder of the published files."""
    case = compose.cases([f"dataset={name}", *overrides])[0]
    return labelled.whole(case), case.paths.data


def _one(name: str, overrides: Sequence[str]) -> str:
    prompts, data = _configured(name, overrides)
    counts = tokens.count(prompts.texts)
    tables = [
        composition(prompts),
        overlaps(prompts, name, data),
        lengths(prompts, counts),
        separation(prompts, counts),
    ]
    titled = [table.section() for table in tables]
    known = [_described(cards.read(name), data)] if name in cards.names() else []
    return "\n".join([f"# Audit of {escape.markdown_line(prompts.name)}\n", *known, *titled])


def _every(overrides: Sequence[str]) -> str:
    """One line for every published set and variant whose files are at hand; none from the hub.

    Raises:
        UserError: None is at hand, or a wrong setting.
    """
    rows, notes, missing = [], [CLASSIFIERS], []
    each = [card for card in map(cards.read, cards.names()) if not card.hub]
    planned = [(card.name, variant) for card in each for variant in card.variants]
    for name, variant in progress.over(planned, "prompt sets", "set"):
        chosen = [f"dataset.variant={variant}", *overrides]
        if name == "model_swap":  # its classes are the same the other way round
            chosen.append("dataset.memorized_by=sd14")
        try:
            prompts, _ = _configured(name, chosen)
        except UserError:
            missing.append(f"{name}-{variant}")
            continue
        memorized, others = (_Part(prompts, members) for members in _classes(prompts).values())
        cells, more = _separated(prompts.name, prompts)
        rows.append(
            [
                prompts.name,
                f"{len(memorized.texts)}/{len(others.texts)}",
                f"{len(set(memorized.clusters))}/{len(set(others.clusters))}",
                _largest(memorized.families),
                *cells,
                f"{auc([capitalised(text) for text in prompts.texts], prompts.labels):.3f}",
            ]
        )
        notes += more
    if not rows:
        raise UserError(
            "no published set has its files here; run anisomem fetch all, or point paths.data or "
            "ANISOMEM_DATA to them"
        )
    if missing:
        notes.append(f"Left out, their files are not at hand: {', '.join(missing)}.")
    headings = ["set", "memorized/other", "clusters", "largest family", *TEXT_MODELS]
    table = Table("Published sets", [*headings, "capitalised words"], rows, notes)
    return f"# Audit of the published prompt sets\n\n{table.markdown()}"


def _described(card: cards.Card, data: str | None) -> str:
    """What a set's card says of labels, defects and licences, and Webster's labels if at hand."""
    licences = {source.repository: source.licence for source in card.sources}
    licences |= {source.repository: source.licence for source in card.unpinned}
    if card.hub:
        licences[card.hub.repository] = card.hub.licence
    said = [f"{card.title}\n", f"{card.labels}\n", *(f"- {defect}" for defect in card.defects)]
    named = "; ".join(f"{repository}: {licence}" for repository, licence in licences.items())
    said += [_labelled(card, source, cards.folder(data)) for source in card.unpinned]
    return "\n".join([*said, f"\nLicences: {named}.\n"])


def _labelled(card: cards.Card, source: cards.UnpinnedFile, folder: Path) -> str:
    """What Webster's labels of the memorized prompts are, or that they are not at hand."""
    if source.find(folder) is None:
        return f"- Webster's labels are not at hand: {source.url}"
    labels = webster.Labels(webster.read(source, folder, card.name))
    whole = published.load(card.name, str(folder))
    memorized = [whole.texts[i] for i in _classes(whole)["memorized"]]
    return f"- Webster's labels of the memorized prompts: {labels.counted(memorized)}."


def composition(prompts: PromptSet) -> Table:
    """Classes, duplicates, clusters, families, blocks and kinds."""
    rows = []
    for title, members in _classes(prompts).items():
        part = _Part(prompts, members)
        rows.append(
            [
                title,
                str(len(members)),
                f"{len(members) / len(prompts):.0%}",
                str(_repeated(part.texts)),
                str(_repeated([normalised(text) for text in part.texts])),
                *_sizes(part.clusters),
                _largest(part.families),
                _counted(part.blocks),
                _counted(part.kinds),
            ]
        )
    headings = ["prompts", "n", "share", "repeated", "after cleaning", "clusters"]
    headings += ["largest cluster", "largest family", "blocks", "kinds"]
    mixed = len(
        {c for c, y in zip(prompts.clusters, prompts.labels, strict=True) if y}
        & {c for c, y in zip(prompts.clusters, prompts.labels, strict=True) if not y}
    )
    notes = [
        "Repeated: prompts equal to an earlier one, verbatim, or after quotes, tags, entities, "
        "case and punctuation are removed.",
        f"Clusters: near-duplicates; {mixed} hold both memorized and other prompts.",
    ]
    return Table("Composition", headings, rows, notes)


def overlaps(prompts: PromptSet, name: str, data: str | None) -> Table:
    """Prompts that other published sets have too, by class."""
    ours = [{prompts.texts[i] for i in members} for members in _classes(prompts).values()]
    rows, missing = [], []
    for other in cards.names():
        if other in (name, "model_swap", "gustavosta"):  # parts of others, or in the hub
            continue
        try:
            theirs = published.load(other, data)
        except UserError:
            missing.append(other)
            continue
        sets = [{theirs.texts[i] for i in members} for members in _classes(theirs).values()]
        pairs = [(a, b) for a in ours for b in sets]
        rows.append([other, *(str(len(a & b)) for a, b in pairs), str(_pictures(prompts, theirs))])
    headings = ["set", "memorized in both", "memorized here, other there"]
    headings += ["other here, memorized there", "other in both", "shared pictures"]
    notes = ["Shared pictures: memorized prompts with a picture's address that the set has too."]
    if missing:
        notes.append(f"Without their files: {', '.join(missing)}.")
    return Table("Overlaps", headings, rows, notes)


def lengths(prompts: PromptSet, counts: npt.NDArray[np.int32]) -> Table:
    """Characters, words and CLIP tokens of each class and block of others."""
    rows = []
    for title, members in {**_classes(prompts), **_blocks(prompts)}.items():
        texts = [prompts.texts[i] for i in members]
        long, many = _lengths(texts), np.array([len(text.split()) for text in texts])
        own = counts[members]
        rows.append(
            [
                title,
                f"{np.median(long):g} / {long.mean():.1f} / {long.std():.1f}",
                f"{np.median(many):g} / {many.mean():.1f}",
                f"{np.median(own):g} / {own.mean():.1f} / {own.max()}",
                str((own > tokens.ROOM).sum()),
            ]
        )
    headings = ["prompts", "characters: median / mean / SD", "words: median / mean"]
    headings += ["CLIP tokens: median / mean / max", f"cut at {tokens.ROOM} tokens"]
    return Table("Lengths", headings, rows)


def separation(prompts: PromptSet, counts: npt.NDArray[np.int32]) -> Table:
    """AUC of what never sees a model, for the whole set and against each block of others."""
    memorized = _classes(prompts)["memorized"]
    parts = {"all": list(range(len(prompts)))}
    blocks = _blocks(prompts)
    if len(blocks) > 1:
        parts |= {title: memorized + members for title, members in blocks.items()}
    rules: Mapping[str, Floats] = {
        "capitalised words": np.array([capitalised(text) for text in prompts.texts]),
        "characters": _lengths(prompts.texts),
        "words": np.array([len(text.split()) for text in prompts.texts], np.float64),
        "CLIP tokens": counts.astype(np.float64),
    }
    rows, notes = [], [CLASSIFIERS]
    with progress.bar("text-only folds", 2 * len(parts) * len(SEEDS), "fold") as bar:
        for title, members in parts.items():
            part = prompts.subset(members)
            cells, more = _separated(title, part, bar.update)
            line = [title, f"{part.labels.sum()}/{(part.labels == 0).sum()}", *cells]
            rows.append([*line, *(f"{auc(v[members], part.labels):.3f}" for v in rules.values())])
            notes += more
    headings = ["against", "memorized/other", *TEXT_MODELS, *rules]
    return Table("What text alone separates", headings, rows, notes)


def _separated(
    title: str, prompts: PromptSet, done: Callable[[], object] = lambda: None
) -> tuple[list[str], list[str]]:
    """The cells of both text classifiers, and what to know about them."""
    cells, notes = [], []
    for classifier in TEXT_MODELS.values():
        try:
            values = grouped_auc(prompts, classifier, done)
        except ValueError as error:  # too few clusters
            cells.append("–")
            notes.append(f"{title}: {error}.")
            continue
        cells.append(f"{values.mean():.4f} ± {values.std(ddof=1):.4f}" if len(values) > 1 else "–")
        if len(values) < (total := len(SEEDS) * SPLITS):
            notes.append(f"{title}: {len(values)} of {total} folds have both classes.")
    return cells, list(dict.fromkeys(notes))


def grouped_auc(
    prompts: PromptSet, classifier: Callable[[], object], done: Callable[[], object] = lambda: None
) -> Floats:
    """AUC of a text classifier in each held-out fold with both classes, of five seeds.

    Raises:
        ValueError: Too few clusters for folds.
    """
    values = []
    for seed in SEEDS:
        labels, clusters = prompts.labels, prompts.clusters
        with warnings.catch_warnings():  # a class smaller than the folds; the caller says so
            warnings.filterwarnings("ignore", "The least populated class")
            scores = text_only_scores(prompts.texts, labels, clusters, SPLITS, seed, classifier)
            fold = folds(labels, clusters, SPLITS, seed)
        for k in range(SPLITS):
            held_out = fold == k
            if len(set(labels[held_out].tolist())) == 2:
                values.append(auc(scores[held_out], labels[held_out]))
        done()
    return np.array(values)


def capitalised(text: str) -> float:
    """Share of the words that begin with a capital letter."""
    parts = text.split()
    return sum(part[0].isupper() for part in parts) / len(parts)


def normalised(text: str) -> str:
    """A prompt without quotes, tags, entities, case and punctuation."""
    return " ".join(re.findall(r"\w+", published.cleaned(text).lower()))


class _Part:
    """Columns of some rows, which may be of one class."""

    def __init__(self, prompts: PromptSet, members: Sequence[int]) -> None:
        self.texts = [prompts.texts[i] for i in members]
        self.clusters = [int(prompts.clusters[i]) for i in members]
        self.families = [prompts.families[i] for i in members] if prompts.families else []
        self.blocks = [prompts.blocks[i] for i in members]
        self.kinds = [prompts.kinds[i] for i in members]


def _classes(prompts: PromptSet) -> dict[str, list[int]]:
    """Rows of each class."""
    return {
        "memorized": np.flatnonzero(prompts.labels).tolist(),
        "other": np.flatnonzero(prompts.labels == 0).tolist(),
    }


def _blocks(prompts: PromptSet) -> dict[str, list[int]]:
    """Rows of each block of prompts that are not memorized."""
    others = _classes(prompts)["other"]
    return {
        block: [i for i in others if prompts.blocks[i] == block]
        for block in dict.fromkeys(prompts.blocks[i] for i in others)
    }


def _lengths(texts: Sequence[str]) -> Floats:
    return np.array([len(text) for text in texts], np.float64)


def _repeated(texts: Sequence[str]) -> int:
    return len(texts) - len(set(texts))


def _sizes(clusters: Sequence[int]) -> list[str]:
    sizes = Counter(clusters).values()
    return [str(len(sizes)), str(max(sizes))]


def _largest(families: Sequence[str]) -> str:
    counts = Counter(filter(None, families)).most_common(1)
    return "–" if not counts else f"{counts[0][0]} ({counts[0][1]})"


def _counted(names: Sequence[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in Counter(names).items())


def _pictures(prompts: PromptSet, other: PromptSet) -> int:
    """Memorized prompts with a picture that the other set has too."""
    theirs = {url for urls in other.urls or () for url in urls}
    ours = zip(prompts.labels, prompts.urls or [()] * len(prompts), strict=True)
    return sum(bool(label) and not theirs.isdisjoint(urls) for label, urls in ours)
