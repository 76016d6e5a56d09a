"""The parts of a saved pipeline, each loaded by itself and held to what its files hold.

The libraries fill weights that a file lacks with random numbers and go on. Here every part is
asked what was missing, what had no place and what had another shape, and is refused for it.
"""

import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from logging import CRITICAL
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DiffusionPipeline, ModelMixin, SchedulerMixin
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from anisomem.errors import UserError
from anisomem.models import architecture, files, schedule
from anisomem.storage.foreign import read_json

T = TypeVar("T")
COUNTS = r"(^|_)(dims?|channels|heads|groups|size|layers|factor)($|_)"  # in a setting's name
SPARE = 2**26  # numbers that a description may have beyond the files' before nothing is made

#: Weights that a file may hold though the part has no place for them, each with its reason.
WITHOUT_PLACE = {
    r"(^|\.)position_ids$": "counts positions from 0; older versions saved it",
}
#: The same for a text encoder saved as the whole of CLIP.
OF_CLIP = {
    r"(^|\.)(vision_model\.|visual_projection\.)": "the half of CLIP that sees pictures",
    r"(^|\.)logit_scale$": "compares the halves of CLIP",
    r"(^|\.)text_projection\.": "leads to what compares them; the states before it are read",
}


def pipeline(
    pipeline_class: type[DiffusionPipeline],
    folder: Path,
    index: Mapping[str, Any],
    dtype: torch.dtype,
    variant: str | None,
) -> DiffusionPipeline:
    """The pipeline that a folder holds, without what judges or takes pictures.

    Arguments:
        pipeline_class: The pipeline class of the family; the folder may have been saved as another
            with its parts.
        folder: Where the parts lie.
        index: Its model_index.json.
        dtype: The dtype of the weights.
        variant: The variant of the weights' files, see :func:`anisomem.models.files.weights`.

    Raises:
        UserError: A part that its files do not hold whole.
    """
    given = architecture.absent(pipeline_class, index)
    for name, parameter in signature(pipeline_class).parameters.items():
        if name not in given and name in index:
            value = index[name]
            of_part = isinstance(value, list)
            if isinstance(parameter.default, bool) and not isinstance(value, bool):
                raise UserError(f"{folder / files.INDEX} has {name}={value!r}; expected a switch")
            given[name] = part(folder / name, value, dtype, variant) if of_part else value
    return made(folder, pipeline_class.__name__, lambda: pipeline_class(**given))


def changed(folder: Path, pipeline: DiffusionPipeline, denoiser: str) -> list[str]:
    """What a pipeline takes otherwise than its files say, in words.

    That of Stable Diffusion v1 and v2 mends settings it holds for mistakes: clipping, an offset
    that is not 1, and latents smaller than 64 in files of its first versions.
    """
    looked_at = {
        "scheduler": ("scheduler_config.json", ("clip_sample", "steps_offset")),
        denoiser: ("config.json", ("sample_size",)),
    }
    changes = []
    for name, (file, settings) in looked_at.items():
        said, taken = read_json(folder / name / file), getattr(pipeline, name).config
        unsaid = said.get("_use_default_values") or []
        for setting in settings:
            if setting not in said or setting in unsaid:
                continue
            if json.dumps(said[setting]) != json.dumps(taken.get(setting)):
                changes.append(
                    f"the {name}'s file says {setting}={said[setting]}, which diffusers'"
                    f" {type(pipeline).__name__} takes for {taken[setting]}"
                )
    return changes


def part(folder: Path, source: Sequence[Any], dtype: torch.dtype, variant: str | None) -> Any:
    """A network, tokenizer or scheduler.

    Arguments:
        folder: Where it lies.
        source: Its library and class, as model_index.json says.
        dtype, variant: As :func:`pipeline`.

    Raises:
        UserError: Its files do not hold it whole, or it is no class of the two libraries.
    """
    kind = architecture.kind(folder.name, source)
    files.require_regular(folder)
    if issubclass(kind, SchedulerMixin):
        schedule.require(kind.__name__, read_json(folder / "scheduler_config.json"))
        return made(folder, kind.__name__, lambda: kind.from_pretrained(folder))
    if issubclass(kind, PreTrainedTokenizerBase):
        return _tokenizer(folder, kind)
    return _network(folder, kind, dtype, variant)


def made(place: Path, named: str, make: Callable[[], T]) -> T:
    """What a library makes of files that may say anything; whatever it raises is one line.

    Arguments:
        place: What it is made of.
        named: The name of its class.
        make: Makes it.

    Raises:
        UserError: It could not be made.
    """
    try:
        with _silent():
            return make()
    except UserError:
        raise
    except Exception as error:  # foreign files in foreign libraries
        said = next(iter(str(error).strip().splitlines()), "")[:300]
        raise UserError(
            f"{place} makes no {named}: {type(error).__name__}{': ' if said else ''}{said}"
        ) from error


def _tokenizer(folder: Path, kind: type[PreTrainedTokenizerBase]) -> Any:
    whole = [("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",)]
    if not any(all((folder / name).is_file() for name in names) for names in whole):
        raise UserError(
            f"{folder} has no vocabulary; expected tokenizer.json, or vocab.json and merges.txt,"
            " or spiece.model"
        )
    for name in ("tokenizer.json", "vocab.json", "tokenizer_config.json"):
        if (folder / name).exists():
            read_json(folder / name)
    return made(
        folder, kind.__name__, lambda: kind.from_pretrained(str(folder), local_files_only=True)
    )


def _network(folder: Path, kind: type[Any], dtype: torch.dtype, variant: str | None) -> Any:
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{folder} holds an adapter (adapter_config.json), which is not loaded; merge it into"
            " the weights, or take it out to score the model without"
        )
    stem = files.STEMS[not issubclass(kind, ModelMixin)]
    held = files.weights(folder, stem, variant)
    _require_description(folder, kind, held)
    network, loading = made(
        folder,
        kind.__name__,
        lambda: kind.from_pretrained(
            str(folder),
            dtype=dtype,
            variant=held.variant,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are in what was loading
            output_loading_info=True,
        ),
    )
    require_whole(
        folder,
        kind,
        len(network.state_dict()),
        missing=loading["missing_keys"],
        without_place=loading["unexpected_keys"],
        mismatched=loading["mismatched_keys"],
    )
    require_finite(folder, network, dtype)
    return network


def _require_description(folder: Path, kind: type[Any], held: files.Weights) -> None:
    """Checks that config.json describes a network of about the size of its weights.

    One that does not would be made in memory, with random numbers, before anything is compared.

    Raises:
        UserError: It describes none, or one that is much larger.
    """
    file = folder / "config.json"
    config = read_json(file)
    if "quantization_config" in config:
        raise UserError(f"{file} has quantization_config; quantised weights are not read")
    for name, value in config.items():
        numbers = [n for n in (value if isinstance(value, list) else [value]) if _whole(n)]
        if "layers" in name and any(n > len(held.shapes) for n in numbers):
            raise UserError(
                f"{file} has {name}={str(value)[:40]}, and its weights are {len(held.shapes)}"
                " tensors in all"
            )
        if re.search(COUNTS, name) and any(n < 0 for n in numbers):
            raise UserError(f"{file} has {name}={str(value)[:40]}; expected none below 0")
        positions = name in ("sample_size", "pos_embed_max_size")
        if positions and any(not 1 <= n <= architecture.MOST_SIDE for n in numbers):
            raise UserError(
                f"{file} has {name}={str(value)[:40]}; expected 1 to {architecture.MOST_SIDE}"
            )
    with torch.device("meta"):
        described = made(file, kind.__name__, lambda: architecture.described(kind, folder))
    count = sum(p.numel() for p in described.parameters())
    if count > 2 * held.count + SPARE:
        raise UserError(
            f"{file} describes {count:,} parameters, and its weights are {held.count:,}; their"
            " shapes differ"
        )


def require_whole(
    folder: Path,
    kind: type[Any],
    total: int,
    missing: Iterable[str],
    without_place: Iterable[str],
    mismatched: Iterable[Sequence[Any]] = (),
) -> None:
    """Checks what a library found when it loaded a network.

    Arguments:
        folder: The folder of the part.
        kind: The part's class.
        total: The part's weights.
        missing: Weights that no file holds, which the library makes up.
        without_place: Weights of the files that the library does not use.
        mismatched: Name, shape in the file and shape expected.

    Raises:
        UserError: Any of them, save what may be without place.
    """
    if wrong := sorted(mismatched, key=str):
        name, there, expected = wrong[0]
        raise UserError(
            f"{folder}: {len(wrong)} of {total} weights have another shape than its config.json"
            f" says ({name} is {list(there)}, expected {list(expected)})"
        )
    allowed = WITHOUT_PLACE | (OF_CLIP if kind is CLIPTextModel else {})
    extra = [
        name for name in sorted(without_place) if not any(re.search(p, name) for p in allowed)
    ]
    if lacking := sorted(missing):
        raise UserError(
            f"{folder}: {len(lacking)} of {total} weights are missing{_first(lacking)}"
            f"{_reason(lacking, extra)}"
        )
    if extra:
        raise UserError(
            f"{folder}: {len(extra)} weights have no place in the {kind.__name__} that its"
            f" config.json describes{_first(extra)}{_reason([], extra)}"
        )


def _first(names: Sequence[str]) -> str:
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _reason(missing: Sequence[str], extra: Sequence[str]) -> str:
    """Why names differ, where they tell."""
    if any(files.ADAPTER.search(name) for name in extra):
        return (
            "; they were saved while a LoRA was attached: merge it (fuse_lora, then"
            " unload_lora_weights) or unload it, and save again"
        )
    if extra and not missing:
        return ""
    known = {
        "module.": "; they were saved under DataParallel: save those of model.module",
        "_orig_mod.": "; they were saved from a compiled model: save those of model._orig_mod",
    }
    for prefix, said in known.items():
        if any(name.startswith(prefix) for name in extra):
            return said
    wanted = set(missing)
    for name in extra:
        for at in (i + 1 for i, letter in enumerate(name) if letter == "."):
            if name[at:] in wanted:
                return f"; the file's names begin with {name[:at]!r}: save them without"
    return f"; instead it holds {len(extra)} others{_first(extra)}" if extra else ""


def require_finite(folder: Path, network: torch.nn.Module, dtype: torch.dtype) -> None:
    """Checks that all weights are numbers, and not all of them zero.

    Raises:
        UserError: They are not.
    """
    wrong, empty = [], True
    for name, weight in network.state_dict().items():
        if not weight.is_floating_point() or not weight.numel():
            continue
        least, most = (float(bound) for bound in torch.aminmax(weight))
        if not (abs(least) < float("inf") and abs(most) < float("inf")):  # NaN is no bound either
            wrong.append(name)
        empty = empty and (weight.ndim < 2 or least == most == 0)
    if wrong:
        precise = "" if dtype == torch.float32 else "; try model.dtype=float32"
        raise UserError(
            f"{folder}: {len(wrong)} weights are NaN or infinite in"
            f" {str(dtype).removeprefix('torch.')}{_first(wrong)}{precise}"
        )
    if empty:
        raise UserError(f"{folder}: all weights are zero; the file was not written whole")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@contextmanager
def _silent() -> Iterator[None]:
    """The libraries' reports meanwhile go nowhere: what they say is in what is raised."""
    loggers = (diffusers_logging, transformers_logging)
    usual = [library.get_verbosity() for library in loggers]
    for library in loggers:
        library.set_verbosity(CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for library, level in zip(loggers, usual, strict=True):
            library.set_verbosity(level)
