r"""Puts a LoRA on a pipeline: its weights are added to the network's, and nothing of it remains.

A LoRA adds to a layer's weights :math:`W` a product of two narrow matrices,
:math:`W + w \frac{\alpha}{r} B A`, of rank :math:`r` at weight :math:`w` (Hu et al., ICLR 2022).
diffusers finds the layers by the names that trainers give them. It passes over what it finds no
layer for, and scales by other :math:`\alpha` than a file says where these differ by layer. So
:math:`\alpha / r` is multiplied into :math:`B` before, every tensor is looked for in the layers
afterwards, and a file of which one is nowhere is refused.

Weights are fused, since a layer then is what it was: attention that is recorded or changed,
derivatives by dual numbers and moving to another device see plain layers, at no cost in a pass.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite, sqrt
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor, nn

from anisomem.errors import UserError
from anisomem.models import parts
from anisomem.models.adapters import PEFT, Adapter, first
from anisomem.models.layout import Layout
from anisomem.storage.foreign import read_json

NAME = "adapter"  # what the layers call it meanwhile
#: A layer's name and which half of its product a tensor is, in the ways that trainers write it.
HALF = re.compile(
    r"(?P<layer>.+?)"
    r"(?P<sign>\.lora_|[._]lora\.|\.lora_linear_layer\.)"
    r"(?P<half>A|B|down|up)"
    r"(\.default(_\d+)?)?\.weight"
)
DOWN = ("A", "down")
ALPHA = ".alpha"
#: How torch says that a weight has another shape than its layer.
SIZES = re.compile(r"size mismatch for (\S+?):.*?\[(.*?)\].*?\[(.*?)\]")
KOHYA = re.compile(r"lora_(unet|te\d?)_")
#: What settings of PEFT may say, where they say what the fused weights depend on.
WITHOUT = ("use_dora", "lora_bias", "modules_to_save", "fan_in_fan_out", "target_parameters")
PATTERN = re.compile(r"\^?[\w.]+")


@dataclass
class Half:
    """One of a layer's two matrices.

    Attributes:
        name: As diffusers is given it.
        of_file: As the file has it.
        tensor: float32, with the layer's scale where it is the second one.
    """

    name: str
    of_file: str
    tensor: Tensor


@torch.no_grad()
def fuse(pipeline: DiffusionPipeline, layout: Layout, adapter: Adapter) -> int:
    """Adds a LoRA to the weights of a pipeline's networks.

    Arguments:
        pipeline: The pipeline, whose networks are changed.
        layout: The parts of its family.
        adapter: The LoRA.

    Returns:
        How many layers it changed.

    Raises:
        UserError: Some of its weights fit no layer, are no numbers, or are of no plain LoRA.
    """
    halves = _halves(pipeline, layout, adapter)
    given = {half.name: half.tensor for half in halves}
    networks = _networks(pipeline)
    try:
        parts.made(
            adapter.file,
            NAME,
            lambda: pipeline.load_lora_weights(dict(given), adapter_name=NAME),
        )
    except UserError as error:
        raise _unfit(pipeline, adapter, [half.of_file for half in halves], error) from error
    layers = _require_landed(pipeline, adapter, halves)
    parts.made(
        adapter.file,
        NAME,
        lambda: pipeline.fuse_lora(
            list(networks), lora_scale=adapter.weight, adapter_names=[NAME]
        ),
    )
    parts.made(adapter.file, NAME, pipeline.unload_lora_weights)
    for network in networks.values():
        network.requires_grad_(False)
        parts.require_finite(adapter.file, network, next(network.parameters()).dtype)
    return layers


def _networks(pipeline: DiffusionPipeline) -> dict[str, nn.Module]:
    """The networks that a LoRA may change, by their names in the pipeline."""
    named = {name: getattr(pipeline, name, None) for name in pipeline._lora_loadable_modules}
    return {name: network for name, network in named.items() if network is not None}


def _halves(pipeline: DiffusionPipeline, layout: Layout, adapter: Adapter) -> list[Half]:
    """A file's tensors, every layer's scale multiplied into one of its two.

    Raises:
        UserError: What is no plain LoRA.
    """
    held = parts.made(adapter.file, "LoRA", lambda: load_file(adapter.file))
    layers: dict[str, dict[bool, tuple[str, re.Match[str]]]] = {}
    odd = []
    for name in held:
        if name.endswith(ALPHA):
            continue
        match = HALF.fullmatch(name)
        halves = layers.setdefault(match["layer"], {}) if match else {}
        if match is None or (match["half"] in DOWN) in halves:
            odd.append(name)
        else:
            halves[match["half"] in DOWN] = name, match
    stems = {layer: halves for layer, halves in layers.items() if len(halves) == 2}
    odd += [name for layer in layers if layer not in stems for name, _ in layers[layer].values()]
    odd += [n for n in held if n.endswith(ALPHA) and n.removesuffix(ALPHA) not in stems]
    if odd or not stems:
        raise UserError(
            f"{adapter.file}: {len(odd)} of its {len(held)} weights are of no plain LoRA"
            f" ({first(odd)}); expected two matrices for every layer, and their alpha"
        )
    settings = _Settings.of(adapter)
    made = []
    for layer, halves in stems.items():
        (up_name, up_match), (down_name, down_match) = halves[False], halves[True]
        up, down = held[up_name].float(), held[down_name].float()
        _require_pair(adapter, (down_name, down), (up_name, up))
        scale = _scale(adapter, layer, held.get(f"{layer}{ALPHA}"), len(down), settings)
        where = _where(pipeline, layout, adapter, layer)
        made.append(Half(_name(where, down_match), down_name, down))
        made.append(Half(_name(where, up_match), up_name, up * scale))
    return made


def _name(layer: str, match: re.Match[str]) -> str:
    """The name without what PEFT calls the adapter itself."""
    return f"{layer}{match['sign']}{match['half']}.weight"


def _require_pair(adapter: Adapter, down: tuple[str, Tensor], up: tuple[str, Tensor]) -> None:
    """Checks that two matrices can be multiplied, and are numbers."""
    for name, tensor in (down, up):
        if tensor.ndim not in (2, 4) or not tensor.numel():
            raise UserError(
                f"{adapter.file}: {name} is {list(tensor.shape)}; expected a matrix or a"
                " convolution's weights"
            )
        if not tensor.isfinite().all():
            raise UserError(f"{adapter.file}: {name} is NaN or infinite")
    if up[1].shape[1] != len(down[1]):
        raise UserError(
            f"{adapter.file}: {down[0]} is of rank {len(down[1])}, and {up[0]} of"
            f" {up[1].shape[1]}; expected the same"
        )


@dataclass(frozen=True)
class _Settings:
    """What PEFT's settings, of a network or of all, say about scales.

    Attributes:
        by_network: Settings by the network's name, "" for all.
    """

    by_network: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, adapter: Adapter) -> _Settings | None:
        """Those in the file's header or beside the file; None where nobody says any.

        Raises:
            UserError: They say what no plain LoRA has, or they are not there.
        """
        said: Mapping[str, Any] | None = adapter.metadata
        if adapter.settings:
            said = read_json(adapter.settings)
        if said is None:
            return None
        by_network: dict[str, dict[str, Any]] = {}
        for key, value in said.items():
            network, _, setting = key.rpartition(".")
            by_network.setdefault(network, {})[setting] = value
        for one in by_network.values():
            _require_plain(adapter, one)
        return cls(by_network)

    def scale(self, layer: str, rank: int) -> float:
        """What a layer's product is multiplied by."""
        network = next((n for n in self.by_network if n and layer.startswith(f"{n}.")), "")
        one = self.by_network.get(network)
        if one is None:
            return 1.0
        inner = layer.removeprefix(PEFT).removeprefix(f"{network}.")
        alpha = one.get("lora_alpha", rank)
        for pattern, value in (one.get("alpha_pattern") or {}).items():
            whole = pattern.removeprefix("^")
            if inner == whole or (whole == pattern and inner.endswith(f".{whole}")):
                alpha = value
                break
        return float(alpha / (sqrt(rank) if one.get("use_rslora") else rank))


def _require_plain(adapter: Adapter, settings: Mapping[str, Any]) -> None:
    kind, bias = settings.get("peft_type", "LORA"), settings.get("bias", "none")
    more = [name for name in WITHOUT if settings.get(name)]
    said, by_layer = f"{adapter.file}: its settings say ", settings.get("alpha_pattern") or {}
    if not isinstance(by_layer, Mapping):
        raise UserError(f"{said}alpha_pattern={str(by_layer)[:40]}; expected numbers by layer")
    alphas = {"": settings.get("lora_alpha", 1), **by_layer}
    if kind != "LORA" or bias != "none" or more:
        named = f"peft_type={kind}" if kind != "LORA" else f"bias={bias}"
        raise UserError(f"{said}{more[0] if more else named}; expected a plain LoRA")
    for pattern, alpha in alphas.items():
        number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
        if not number or not isfinite(alpha) or (pattern and not PATTERN.fullmatch(pattern)):
            raise UserError(
                f"{said}lora_alpha {str(alpha)[:40]} {f'of {pattern[:80]!r}' if pattern else ''};"
                " expected numbers, of layers by name"
            )


def _scale(
    adapter: Adapter, layer: str, alpha: Tensor | None, rank: int, settings: _Settings | None
) -> float:
    """A layer's alpha over its rank, 1 where nobody says one."""
    if alpha is None:
        return settings.scale(layer, rank) if settings else 1.0
    if settings is not None:
        raise UserError(
            f"{adapter.file}: {layer}{ALPHA} and lora_adapter_metadata in the header both say a"
            " scale; expected one of them"
        )
    if alpha.numel() != 1 or not alpha.isfinite().all():
        raise UserError(f"{adapter.file}: {layer}{ALPHA} is no finite number")
    return float(alpha) / rank


def _where(pipeline: DiffusionPipeline, layout: Layout, adapter: Adapter, layer: str) -> str:
    """A layer's name with its network before it, as diffusers reads it."""
    networks = _networks(pipeline)
    known = (*networks, layout.denoiser, *(f"text_encoder{n}" for n in ("", "_2", "_3")))
    foreign = ("unet", "transformer")
    if KOHYA.match(layer) or layer.partition(".")[0] in {*known, *foreign}:
        return layer
    inner = layer.removeprefix(PEFT)
    fits = [
        name
        for name, network in networks.items()
        if inner.removeprefix("text_model.") in _layers(network) or inner in _layers(network)
    ]
    if len(fits) > 1:
        raise UserError(
            f"{adapter.file}: {layer} may be of {' or of '.join(fits)}; expected names that begin"
            " with it, as save_lora_weights of diffusers writes them"
        )
    return f"{(fits or [layout.denoiser])[0]}.{inner}"


def _layers(network: nn.Module) -> set[str]:
    return {name for name, _ in network.named_modules()}


def _tuned(pipeline: DiffusionPipeline) -> Iterator[Any]:
    """The layers that hold the LoRA now."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for network in _networks(pipeline).values():
        yield from (m for m in network.modules() if isinstance(m, BaseTunerLayer))


def _require_landed(pipeline: DiffusionPipeline, adapter: Adapter, halves: Sequence[Half]) -> int:
    """Checks that every tensor of a file is in a layer, and no layer has another.

    They are known by their content, so that nobody's renaming is trusted.

    Returns:
        How many layers hold it.

    Raises:
        UserError: It is not so.
    """
    layers = [layer for layer in _tuned(pipeline) if NAME in layer.lora_A]
    there: Counter[str] = Counter()
    for layer in layers:
        if abs(layer.scaling[NAME] - 1) > 1e-6:
            raise UserError(f"{adapter.file}: diffusers scales a layer by {layer.scaling[NAME]}")
        there.update(_content(side[NAME].weight) for side in (layer.lora_A, layer.lora_B))
    dtype = {layer.lora_A[NAME].weight.dtype for layer in layers}
    lost = []
    for half in halves:
        content = {_content(half.tensor.to(one)) for one in dtype}
        found = next((one for one in content if there[one]), None)
        if found is None:
            lost.append(half.of_file)
        else:
            there[found] -= 1
    if lost:
        raise _unfit(pipeline, adapter, lost)
    if extra := there.total():
        raise UserError(f"{adapter.file}: {extra} matrices of layers are of no weight of the file")
    return len(layers)


def _content(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous()
    return f"{list(plain.shape)} {sha256(plain.view(torch.uint8).numpy().tobytes()).hexdigest()}"


def _unfit(
    pipeline: DiffusionPipeline,
    adapter: Adapter,
    names: Sequence[str],
    error: UserError | None = None,
) -> UserError:
    """What is said of weights that no layer takes.

    Arguments:
        pipeline: The pipeline.
        adapter: The LoRA.
        names: Its weights that are in no layer, or all of them where loading raised.
        error: What was raised, whose cause says where shapes differ.
    """
    total = sum(not name.endswith(ALPHA) for name in adapter.shapes)
    layers = f"the layers of the {type(pipeline).__name__}"
    if sizes := SIZES.findall(str(error.__cause__)) if error else []:
        name, there, expected = sizes[0]
        said = (
            f"{len(sizes)} of its {total} weights have another shape than {layers}"
            f" ({name.replace(f'.{NAME}.', '.')} is [{there}], expected [{expected}])"
        )
    elif error:
        said = f"its {total} weights do not fit {layers} ({first(names)})"
    else:
        said = f"{len(names)} of its {total} weights fit none of {layers} ({first(names)})"
    if made_for := _made_for(adapter):
        said += f"; it looks like one for {made_for}"
    return UserError(f"{adapter.file}: {said}; give the model that it was trained on")


def _made_for(adapter: Adapter) -> str:
    """The family that the names or widths of a file tell, "" where they tell none."""
    names = list(adapter.shapes)
    if any(name.startswith(("transformer.", "lora_transformer_")) for name in names):
        return "a transformer, such as Stable Diffusion 3"
    if any("joint_blocks" in name for name in names):
        return "Stable Diffusion 3 in kohya's names, which diffusers does not read"
    if any(name.startswith(("lora_te2_", "text_encoder_2.")) for name in names):
        return "Stable Diffusion XL"
    widths = {
        shape[1]
        for name, shape in adapter.shapes.items()
        if re.search(r"attn2[._](processor[._])?to_[kv]", name)
        and (match := HALF.fullmatch(name))
        and match["half"] in DOWN
    }
    known = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
    return known.get(widths.pop(), "") if len(widths) == 1 else ""
