"""The published prompt sets, read from verified files as their authors mean them."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from anisomem.datasets import cards, clusters, tables, webster
from anisomem.datasets.files import UNKNOWN
from anisomem.datasets.prompts import PromptSet
from anisomem.errors import UserError, one_of

HEAD = 345  # rows of sd1_mem.txt that are MemAttn's list; the others come from elsewhere
LISTS = ("sd14", "sd20")
HARD, AGAINST_HARD = "hard_negatives", "against_hard_negatives"

#: Blocks of Jeon's other prompts, by rows; the file does not mark them.
JEON = ["COCO"] * 200 + ["Lexica"] * 100 + ["Tuxemon"] * 100 + ["GPT-4"] * 100

#: Templates that captions of the memorized lists are made from.
FAMILIES: Mapping[str, str] = {
    "Shaw Floors": r"^shaw floors",
    "phone case": r"\bcases?\b",
    "throw pillow": r"throw pillow",
    "headline in tags": r"</?(i|em)>",
    "backpack view": r"- view \d",
    "Aero wheel": r"\baero\b",
    "area rug": r"area rug",
    "Designart": r"design ?art",
    "pencil-pleat curtain": r"pencil pleat",
    "T-shirt": r"t-?shirts?\b|unisex",
    "car-seat cover": r"car seat cover",
    "Tuxemon": r"tuxemon",
}


@dataclass(frozen=True)
class Prompt:
    """A prompt with what its sources say about it."""

    id: str
    text: str
    label: int
    block: str
    kind: str = UNKNOWN
    family: str = ""
    urls: Sequence[str] = ()
    mean_sscd: float = float("nan")
    max_sscd: float = float("nan")


def load(
    name: str,
    data: str | None = None,
    variant: str = "all",
    clean: bool = False,
    seed: int = 0,
    memorized_by: str = "sd14",
    hub: str | None = None,
    revision: str | None = None,
) -> PromptSet:
    """A published set, or a part of it.

    Variants restrict the memorized prompts (``head``, ``tail``, ``VM``, ``TM``, ``MV``, ``TV``,
    ``without_largest_family``), restrict the others (``against_BLOCK``), replace them by NeMo's
    500 LAION captions (``against_laion``) or by those that Webster labels N
    (``against_hard_negatives``), or keep one prompt of every cluster and class
    (``one_per_cluster``). Clusters are those of the whole set.

    Arguments:
        name: The name of the set's card.
        data: Folder with the files, in any layout; null: the user's cache.
        variant: One of those on the card.
        clean: Removes the quotes, HTML tags and entities that are in the captions.
        seed: The seed of the draw of COCO captions (membench_sd14).
        memorized_by: The model whose list counts as memorized, sd14 or sd20 (model_swap).
        hub, revision: Another hub dataset or folder than the card's, and its commit (gustavosta).

    Raises:
        UserError: An unknown name or variant, a missing file, or one with other content.
    """
    card = cards.read(name)
    one_of(f"variant of {name}", variant, card.variants)
    content = cards.Files(card, cards.folder(data))
    parts = [name]
    if name == "model_swap":
        one_of("list of memorized prompts", memorized_by, LISTS)
        prompts = _model_swap(content, memorized_by)
        parts.append(memorized_by)
    else:
        memorized, others = SETS[name]
        if variant == "against_laion":
            others = partial(_laion, role="laion")
        elif variant == AGAINST_HARD:
            others = _hard_negatives
        elif others is _coco:
            others = partial(_coco, seed=seed)
        elif others is _hub:
            others = partial(_hub, repository=hub, revision=revision)
        prompts = [*memorized(content), *others(content)]
    cautions = list(card.cautions)
    if variant == AGAINST_HARD:
        prompts, told = _without_contradictions(content, prompts)
        cautions += told
    # Families first: one of them is known by its tags.
    prompts = [replace(p, family=p.family or family(p.text)) for p in prompts]
    if clean:
        prompts = [replace(p, text=cleaned(p.text)) for p in prompts]
    parts += [variant] * (variant != "all") + ["clean"] * clean
    whole = replace(_assembled("-".join(parts), prompts), cautions=cautions)
    return whole if variant == "all" else whole.subset(_chosen(whole, variant))


def cleaned(text: str) -> str:
    """A caption without the quoting of a CSV file, HTML tags and entities, and double spaces."""
    while len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1].replace('""', ""):
        text = text[1:-1].replace('""', '"')
    text = re.sub(r"<\s*/?\s*[A-Za-z][^<>]*>", " ", html.unescape(text))
    return " ".join(text.split())


Reader = Callable[[cards.Files], list[Prompt]]


def _webster(
    content: cards.Files, role: str = "memorized", pictures: str = "pictures"
) -> list[Prompt]:
    """Memorized captions, with the addresses of their pictures and Webster's kinds."""
    texts = content.lines(role)
    urls = joined(texts, content.objects(pictures))
    return [
        Prompt(
            f"{content.stem(role)}-{number}",
            text,
            1,
            "LAION",
            row.get("overfit_type", UNKNOWN),
            urls=[row["url"]],
        )
        for number, (text, row) in enumerate(zip(texts, urls, strict=True), 1)
    ]


def _sd14(content: cards.Files) -> list[Prompt]:
    """Webster's 500 of Stable Diffusion 1.4, head and tail apart, with NeMo's kinds."""
    return _head_and_tail(_with_similarities(content, _webster(content)))


def _head_and_tail(prompts: Sequence[Prompt]) -> list[Prompt]:
    return [
        replace(prompt, block=f"LAION {'head' if number < HEAD else 'tail'}")
        for number, prompt in enumerate(prompts)
    ]


def _with_similarities(content: cards.Files, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Prompts with NeMo's kinds and SSCD where NeMo has their captions."""
    known = {row["Caption"]: row for row in content.table("similarities")}
    return [_similar(p, known[p.text]) if p.text in known else p for p in prompts]


def _similar(prompt: Prompt, row: Mapping[str, str]) -> Prompt:
    return replace(
        prompt,
        kind=row["type"],
        urls=[row["URL"]],
        mean_sscd=float(row["mean_sscd"] or "nan"),
        max_sscd=float(row["max_sscd"] or "nan"),
    )


def _realvis(content: cards.Files) -> list[Prompt]:
    return _with_similarities(content, _plain(content, "memorized", 1, ["LAION"] * 90))


def _memattn(content: cards.Files) -> list[Prompt]:
    return _with_similarities(content, _plain(content, "memorized", 1, ["LAION head"] * HEAD))


def _jeon(content: cards.Files) -> list[Prompt]:
    """Jeon's other prompts, or the first of them."""
    return _plain(content, "others", 0, JEON[: content.card.others])


def _gpt(content: cards.Files) -> list[Prompt]:
    """MemAttn's other prompts."""
    return _plain(content, "others", 0, ["GPT-4"] * content.card.others)


def _plain(content: cards.Files, role: str, label: int, blocks: Sequence[str]) -> list[Prompt]:
    """A file of one prompt a line."""
    stem = content.stem(role)
    return [
        Prompt(f"{stem}-{number}", text, label, block)
        for number, (text, block) in enumerate(zip(content.lines(role), blocks, strict=True), 1)
    ]


def _nemo(content: cards.Files) -> list[Prompt]:
    """NeMo's memorized captions; the same 500 as Webster's, in the same order."""
    stem = content.stem("memorized")
    rows = content.table("memorized")
    prompts = [
        _similar(Prompt(f"{stem}-{number}", row["Caption"], 1, "LAION"), row)
        for number, row in enumerate(rows, 1)
    ]
    return _head_and_tail(prompts)


def _laion(content: cards.Files, role: str = "others") -> list[Prompt]:
    """NeMo's LAION captions that are not known to be memorized."""
    stem = content.stem(role)
    return [
        Prompt(f"{stem}-{number}", row["Caption"], 0, "LAION", urls=[row["URL"]])
        for number, row in enumerate(content.table(role), 1)
    ]


def _hard_negatives(content: cards.Files) -> list[Prompt]:
    """The captions that Webster's attack has extracted and that he labels N."""
    source = content.unpinned[HARD]
    stem = content.stem_of(source)
    return [
        Prompt(f"{stem}-{row.row}", row.text, 0, HARD, row.kind, urls=[row.url] * bool(row.url))
        for row in webster.read(source, content.folder, content.card.name)
        if row.kind == webster.NEGATIVE
    ]


def _without_contradictions(
    content: cards.Files, prompts: Sequence[Prompt]
) -> tuple[list[Prompt], list[str]]:
    """Leaves out memorized prompts that Webster labels N; with what a table must say."""
    source, told = content.unpinned[HARD], []
    labels = webster.Labels(webster.read(source, content.folder, content.card.name))
    kept = [p for p in prompts if not (p.label and labels.of(p.text) == webster.NEGATIVE)]
    if left := len(prompts) - len(kept):
        told.append(f"{left} memorized prompts are left out, which Webster labels N")
    file = source.find(content.folder)
    if file and not source.is_as_said(file):
        told.append(f"{file.name} is another file than a third party has (md5 {source.md5})")
    return kept, told


def _membench(content: cards.Files) -> list[Prompt]:
    """Trigger prompts; those linked by shared pictures are one family."""
    rows = content.table("memorized", ",")
    urls = [ast.literal_eval(row["urls"]) for row in rows]
    groups = clusters.near_duplicates([""] * len(rows), urls)
    stem = content.stem("memorized")
    return [
        Prompt(f"{stem}-{number}", row["prompt"], 1, "MemBench", family=f"pictures {g}", urls=some)
        for number, (row, some, g) in enumerate(zip(rows, urls, groups, strict=True), 1)
    ]


def _coco(content: cards.Files, seed: int = 0) -> list[Prompt]:
    """Distinct COCO captions, drawn with a seed."""
    stem = content.stem("others")
    first: dict[str, int] = {}
    for number, row in enumerate(content.table("others"), 1):
        first.setdefault(row["Caption"], number)
    captions = list(first)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(captions), content.card.others, replace=False)
    return [Prompt(f"{stem}-{first[captions[i]]}", captions[i], 0, "COCO") for i in sorted(drawn)]


def _hub(
    content: cards.Files, repository: str | None = None, revision: str | None = None
) -> list[Prompt]:
    """Prompts of a hub dataset, by default the card's at its revision."""
    pinned = content.card.hub
    assert pinned
    if repository is None:
        repository, revision = pinned.repository, revision or pinned.revision
    columns = tables.Columns({"prompt": pinned.column})
    table = tables.hub(repository, columns, pinned.split, revision)
    if len(table.rows) != pinned.rows or "prompt" not in table.chosen:
        raise UserError(
            f"{repository} has {len(table.rows)} rows in {pinned.split} and columns "
            f"{table.heading()}; expected {pinned.rows} and {pinned.column}"
        )
    return [
        Prompt(f"gustavosta-{number}", cells["prompt"], 0, "Lexica")
        for number, (_, cells) in enumerate(table.rows, 1)
    ]


def _model_swap(content: cards.Files, memorized_by: str) -> list[Prompt]:
    """The prompts that one list has and the other lacks, in one order for both models."""
    sd14 = _with_similarities(content, _webster(content, "sd14", "pictures sd14"))
    sd20 = _webster(content, "sd20", "pictures sd20")
    lists = {"sd14": sd14, "sd20": sd20}
    texts = {key: {p.text for p in prompts} for key, prompts in lists.items()}
    return [
        replace(prompt, label=int(key == memorized_by), block=f"{key} alone")
        for key, other in (("sd14", "sd20"), ("sd20", "sd14"))
        for prompt in lists[key]
        if prompt.text not in texts[other]
    ]


#: The readers of a set's memorized and other prompts.
SETS: Mapping[str, tuple[Reader, Reader]] = {
    "sd14_webster500": (_sd14, _jeon),
    "sd20_webster219": (_webster, _jeon),
    "realvis_90": (_realvis, _jeon),
    "memattn_sd14": (_memattn, _gpt),
    "memattn_sd20": (_webster, _gpt),
    "nemo_laion": (_nemo, _laion),
    "membench_sd14": (_membench, _coco),
    "gustavosta": (_sd14, _hub),
}


def joined(texts: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The row of each caption: the one that is equal, else the one with the same words.

    Raises:
        UserError: A caption has no row of its own.
    """
    equal = {row["caption"]: row for row in rows}
    similar = {
        tuple(clusters.words(caption)): row
        for caption, row in equal.items()
        if caption not in set(texts)
    }
    matches = []
    for text in texts:
        row = equal.pop(text, None) or similar.pop(tuple(clusters.words(text)), None)
        if row is None:
            raise UserError(f"no row for the caption {text!r}")
        matches.append(row)
    return matches


def _assembled(name: str, prompts: Sequence[Prompt]) -> PromptSet:
    """Columns of all prompts, with clusters and families."""
    texts, urls = [p.text for p in prompts], [list(p.urls) for p in prompts]
    return PromptSet(
        name,
        [p.id for p in prompts],
        texts,
        np.array([p.label for p in prompts], np.int8),
        clusters.near_duplicates(texts, urls),
        [p.block for p in prompts],
        [p.kind for p in prompts],
        families=[p.family for p in prompts],
        urls=urls,
        mean_sscd=_measured([p.mean_sscd for p in prompts]),
        max_sscd=_measured([p.max_sscd for p in prompts]),
    )


def _measured(similarities: Sequence[float]) -> npt.NDArray[np.float64] | None:
    """NaN where not measured; None where nothing was."""
    values = np.array(similarities)
    return None if np.isnan(values).all() else values


def family(text: str) -> str:
    """The template a caption is made from, or ""."""
    return next((k for k, rule in FAMILIES.items() if re.search(rule, text, re.IGNORECASE)), "")


def _chosen(prompts: PromptSet, variant: str) -> list[int]:
    """The rows of a variant."""
    memorized = [i for i, label in enumerate(prompts.labels) if label]
    others = [i for i, label in enumerate(prompts.labels) if not label]
    if variant == "one_per_cluster":
        return prompts.one_per_cluster()
    if variant in ("against_laion", AGAINST_HARD):
        return memorized + others
    if variant.startswith("against_"):
        block = variant.removeprefix("against_")
        return memorized + [
            i for i in others if prompts.blocks[i].lower().replace("-", "") == block
        ]
    if variant == "without_largest_family":
        families = prompts.families or []
        named = [families[i] for i in memorized if families[i]]
        largest = max(dict.fromkeys(named), key=named.count)
        return [i for i in memorized + others if families[i] != largest]
    return [
        i for i in memorized if variant in (prompts.kinds[i], prompts.blocks[i].split()[-1])
    ] + others
