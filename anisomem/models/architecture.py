"""Full-size architectures without their weights: for what a model costs, never for what it scores.

``architectures/`` holds the published configuration values of some repositories, in the layout of
diffusers and without vocabularies.
"""

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import ConfigMixin, DiffusionPipeline, ModelMixin, SchedulerMixin
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from anisomem.errors import UserError, unknown
from anisomem.models.vocabulary import byte_tokenizer
from anisomem.storage.foreign import located

SHIPPED = Path(__file__).parent / "architectures"
EXTRAS = ("safety_checker", "feature_extractor", "image_encoder")  # judge or take pictures
LIBRARIES = {"diffusers": diffusers, "transformers": transformers}
MOST_SIDE = 4096  # of latents, or of their table of positions
KINDS = (ModelMixin, PreTrainedModel, PreTrainedTokenizerBase, SchedulerMixin)


def folder(path: str) -> Path:
    """Where the configuration of a local pipeline, or of a repository that we have it of, lies.

    Raises:
        UserError: A repository that we do not have it of.
    """
    if (local := located(path)) and local.is_dir():
        return local
    shipped = {place.name.replace("--", "/"): place for place in SHIPPED.iterdir()}
    if path not in shipped:
        raise unknown("architecture for weights=random", path, shipped)
    return shipped[path]


def networks(folder: Path, index: Mapping[str, Any]) -> list[torch.nn.Module]:
    """The networks that a pipeline is made of, without storage."""
    with torch.device("meta"):
        return [_part(v, folder / name) for name, v in index.items() if _is_network(v)]


def sides(size: Any) -> tuple[int, int]:
    """Height and width of latents as a network's configuration says.

    Raises:
        UserError: It says no such thing.
    """
    sides = size if isinstance(size, list | tuple) else [size, size]
    if len(sides) != 2 or not all(
        isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= MOST_SIDE
        for side in sides
    ):
        raise UserError(
            f"the network's config.json has sample_size={str(size)[:40]}, the side of its latents;"
            " write what it was trained with, such as 64 for 512 pixels"
        )
    height, width = sides
    return height, width


def _is_network(source: Any) -> bool:
    """Whether an entry of a pipeline's index is a network that is needed."""
    if not isinstance(source, list) or None in source:
        return False
    kind = source[1]
    return not any(word in kind for word in ("Tokenizer", "Scheduler", "Extractor", "Safety"))


def build(
    pipeline_class: type[DiffusionPipeline],
    folder: Path,
    index: Mapping[str, Any],
    dtype: torch.dtype,
) -> DiffusionPipeline:
    """The pipeline that a folder's configuration describes, with the weights of a fresh one."""
    parts = absent(pipeline_class, index)
    for name in signature(pipeline_class).parameters:
        if name not in parts and name in index:
            value = index[name]
            parts[name] = _part(value, folder / name) if isinstance(value, list) else value
    return pipeline_class(**parts).to(dtype, silence_dtype_warnings=True)


def absent(pipeline_class: type[DiffusionPipeline], index: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that leave out what a pipeline does not have, and what no detector needs."""
    left_out: dict[str, Any] = {}
    for name, parameter in signature(pipeline_class).parameters.items():
        lacks = parameter.default is Parameter.empty and index.get(name) in (None, [None, None])
        if lacks or name in EXTRAS:
            left_out[name] = None
        elif name == "requires_safety_checker":
            left_out[name] = False
    return left_out


def _part(source: Sequence[str], folder: Path) -> Any:
    made = kind(folder.name, source)
    if issubclass(made, PreTrainedTokenizerBase) and not folder.is_dir():
        return byte_tokenizer()
    if issubclass(made, SchedulerMixin | PreTrainedTokenizerBase):
        return made.from_pretrained(folder)
    return described(made, folder)


def kind(name: str, source: Sequence[Any]) -> type[Any]:
    """The class of a part.

    Arguments:
        name: The part's name.
        source: Its library and class, as a model_index.json says.

    Raises:
        UserError: No network, tokenizer or scheduler of diffusers or transformers; nothing else
            is imported, whatever a file names.
    """
    named = ".".join(map(str, source))
    library, *rest = source
    named_class = getattr(LIBRARIES.get(library), str(*rest), None) if len(rest) == 1 else None
    if not (isinstance(named_class, type) and issubclass(named_class, KINDS)):
        raise UserError(
            f"model_index.json says that {name} is a {named[:80]!r}; expected a network, tokenizer"
            " or scheduler of diffusers or transformers"
        )
    return named_class


def described(made: type[Any], folder: Path) -> Any:
    """The network that a part's config.json describes, with fresh weights."""
    if issubclass(made, ConfigMixin):
        return made.from_config(made.load_config(folder))
    return made(made.config_class.from_pretrained(folder))
