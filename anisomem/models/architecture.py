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
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from anisomem.errors import UserError, unknown
from anisomem.storage.foreign import located, read_json

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
    if (found := located(path)) and found.is_dir():
        return found
    shipped = {found.name.replace("--", "/"): found for found in SHIPPED.iterdir()}
    if path not in shipped:
        raise unknown("architecture for weights=random", path, shipped)
    return shipped[path]


def parameters(path: str) -> int | None:
    """Parameters of a local pipeline or a shipped architecture, None of another repository."""
    try:
        where = folder(path)
    except UserError:
        return None
    index = DiffusionPipeline.load_config(where)
    with torch.device("meta"):
        parts = [_part(v, where / name) for name, v in index.items() if _is_network(v)]
    return sum(p.numel() for part in parts for p in part.parameters())


def latent_shape(path: str) -> tuple[int, int, int]:
    """``(C, H, W)`` of a local pipeline or a shipped architecture."""
    where = folder(path)
    found = [part for part in ("unet", "transformer") if (where / part).is_dir()]
    config = read_json(where / (found or ["unet"])[0] / "config.json")
    channels = config.get("in_channels", 4)
    if not isinstance(channels, int):
        raise UserError(f"the network's config.json has in_channels={channels}; expected a number")
    return channels, *sides(config.get("sample_size"))


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


def activations(path: str, dtype: torch.dtype) -> int:
    """Bytes of a U-Net's activations at their peak, for each latent of a forward pass.

    Traced on tensors without storage, with fused attention, in ``dtype``; directional derivatives
    take more, since they hold attention maps.
    """
    from diffusers import UNet2DConditionModel
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    settings = UNet2DConditionModel.load_config(folder(path) / "unet")
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with FakeTensorMode(), torch.no_grad():
            unet = UNet2DConditionModel.from_config(settings).eval()
            x = torch.randn(1, *latent_shape(path))
            states = torch.randn(1, 77, unet.config.cross_attention_dim)
            added = None
            if unet.config.addition_embed_type == "text_time":  # sizes and crop are six numbers
                each = unet.config.addition_time_embed_dim
                pooled = unet.config.projection_class_embeddings_input_dim - 6 * each
                added = {"text_embeds": torch.randn(1, pooled), "time_ids": torch.ones(1, 6)}
            tracker = MemTracker()
            tracker.track_external(unet, x, states)
            with tracker:
                t = torch.tensor([1])
                unet(x, t, encoder_hidden_states=states, added_cond_kwargs=added)
    finally:
        torch.set_default_dtype(usual)
    (peak,) = tracker.get_tracker_snapshot("peak").values()
    weights = sum(p.numel() * p.element_size() for p in unet.parameters())
    return int(peak["Total"]) - weights


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


def byte_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer without merges: a token per byte, 77 in all, as a vocabulary's stand-in."""
    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer({token: i for i, token in enumerate(tokens)}, [], model_max_length=77)


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
        name: The part's.
        source: Its library and class, as a model_index.json says.

    Raises:
        UserError: No network, tokenizer or scheduler of diffusers or transformers; nothing else
            is imported, whatever a file names.
    """
    named = ".".join(map(str, source))
    library, *rest = source
    found = getattr(LIBRARIES.get(library), str(*rest), None) if len(rest) == 1 else None
    if not (isinstance(found, type) and issubclass(found, KINDS)):
        raise UserError(
            f"model_index.json says that {name} is a {named[:80]!r}; expected a network, tokenizer"
            " or scheduler of diffusers or transformers"
        )
    return found


def described(made: type[Any], folder: Path) -> Any:
    """The network that a part's config.json describes, with fresh weights."""
    if issubclass(made, ConfigMixin):
        return made.from_config(made.load_config(folder))
    return made(made.config_class.from_pretrained(folder))
