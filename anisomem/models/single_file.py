"""Checkpoints in one file, with the weights' names of the original code.

They hold no configuration and no vocabulary: both are the package's own, of the model that the
weights' names are of. What such a file leaves open (its resolution, what version 2 predicts) is
that model's, or must be said.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors.torch import load_file

from anisomem.errors import UserError
from anisomem.models import agreement, architecture, files, parts
from anisomem.models.vocabulary import TOKENS, clip_tokenizer

V1, V2 = "CompVis/stable-diffusion-v1-4", "stabilityai/stable-diffusion-2"
XL = "stabilityai/stable-diffusion-xl-base-1.0"

#: A weight that tells the model, by the repository of its configuration.
TELLING = {
    V1: "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    V2: "cond_stage_model.model.token_embedding.weight",
    XL: "conditioner.embedders.1.model.token_embedding.weight",
}
UNET, AUTOENCODER = "model.diffusion_model.", "first_stage_model."
FIRST = f"{UNET}input_blocks.0.0.weight"
OTHERWISE = "save it as a folder (from_single_file, then save_pretrained of diffusers)"
#: Entries that say the model was trained otherwise than the one it is taken for.
TRAINED_OTHERWISE = ("v_pred", "ztsnr", "edm_mean", "edm_std")
PADS_WITH_ZERO = "!"  # OpenCLIP's, the first of the vocabulary


def repository(file: Path, parameterisation: str | None) -> str:
    """Whose configuration a checkpoint is read with.

    Arguments:
        file: The checkpoint, in safetensors.
        parameterisation: What the user says that it predicts.

    Raises:
        UserError: No whole checkpoint of a model that the package has the configuration of, or
            one that does not say what it predicts.
    """
    if file.suffix.lower() != ".safetensors":
        raise UserError(f"{file} is no safetensors file; other checkpoints are not read")
    shapes = dict(files.headers(file))
    if any(files.ADAPTER.search(name) for name in shapes):
        raise UserError(f"{file} is a LoRA, no model; model.path is the model it was made for")
    architectures = [name for name, telling in TELLING.items() if telling in shapes]
    whole = FIRST in shapes and any(name.startswith(AUTOENCODER) for name in shapes)
    if not (architectures and whole):
        raise UserError(
            f"{file} is no whole checkpoint of Stable Diffusion 1, 2 or XL: expected U-Net,"
            f" autoencoder and text encoder ({UNET}..., {AUTOENCODER}..., {TELLING[V1][:16]}... or"
            f" conditioner...); give the folder of its pipeline, or {OTHERWISE}"
        )
    reads = shapes[FIRST][1]
    agreement.require_inputs({"in_channels": reads, "out_channels": 4}, None)
    for name in TRAINED_OTHERWISE:
        if name in shapes:
            raise UserError(f"{file} says {name}, which needs its own scheduler; {OTHERWISE}")
    if architectures[0] == V2 and parameterisation is None:
        raise UserError(
            f"{file} is a Stable Diffusion 2, and does not say what it predicts: give"
            " model.parameterisation=v_prediction (768 pixels) or epsilon (512 pixels)"
        )
    return architectures[0]


def pipeline(
    pipeline_class: type[DiffusionPipeline],
    file: Path,
    folder: Path,
    index: Mapping[str, Any],
    dtype: torch.dtype,
    parameterisation: str | None = None,
) -> DiffusionPipeline:
    """The pipeline of a checkpoint.

    Arguments:
        pipeline_class: The pipeline class of the family.
        file: The checkpoint's file.
        folder: The folder of its configuration.
        index: The model_index.json there.
        dtype: The dtype of the weights.
        parameterisation: The same as of :func:`repository`.

    Raises:
        UserError: Weights are missing, or are no numbers.
    """
    held = parts.made(file, "weights", lambda: load_file(file))
    given = architecture.absent(pipeline_class, index)
    for name, value in index.items():
        if not name.startswith("_") and name not in given:
            of_part = isinstance(value, list)
            given[name] = _part(file, held, folder / name, value, dtype) if of_part else value
    if TELLING[V2] in held and parameterisation == "epsilon":
        given["unet"].register_to_config(sample_size=64)
        config = given["scheduler"].config
        given["scheduler"] = DDIMScheduler.from_config(config, prediction_type="epsilon")
    return parts.made(file, pipeline_class.__name__, lambda: pipeline_class(**given))


def _part(
    file: Path,
    held: Mapping[str, torch.Tensor],
    folder: Path,
    source: Sequence[Any],
    dtype: torch.dtype,
) -> Any:
    """A part by its configuration, with the checkpoint's weights."""
    name, kind = folder.name, architecture.kind(folder.name, source)
    if name.startswith("tokenizer"):
        opened = name == "tokenizer_2" or TELLING[V2] in held
        return clip_tokenizer(TOKENS, PADS_WITH_ZERO if opened else None)
    if not issubclass(kind, torch.nn.Module):
        return kind.from_pretrained(folder)
    settings = {
        "config": str(folder.parent),
        "subfolder": name,
        "torch_dtype": dtype,
        "local_files_only": True,
    }

    def make() -> torch.nn.Module:
        if hasattr(kind, "from_single_file"):
            converted: torch.nn.Module = kind.from_single_file(dict(held), **settings)
        else:
            converted = create_diffusers_clip_model_from_ldm(kind, dict(held), **settings)
        return converted

    network = parts.made(file, name, make)
    _require_whole(file, name, network, dtype)
    return network.eval()


def _require_whole(file: Path, name: str, network: torch.nn.Module, dtype: torch.dtype) -> None:
    weights = network.state_dict()
    lacking = [key for key, weight in weights.items() if weight.is_meta]
    parts.require_whole(file / name, type(network), len(weights), lacking, ())
    parts.require_finite(file / name, network, dtype)
