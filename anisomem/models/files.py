"""The files of a saved pipeline: which there are, and what they say, before any is loaded.

A folder comes from anybody: each file is looked at before a library opens it, so that a broken
link, a named pipe or a file cut short is one line, and no program code or pickle is ever read.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from anisomem.errors import UserError
from anisomem.storage.foreign import read_json, regular

INDEX = "model_index.json"
STEMS = ("diffusion_pytorch_model", "model")  # how diffusers and transformers call weights
LFS = b"version https://git-lfs"
FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
COUNTED = re.compile(r"(^|\.)(position_ids|num_updates)$")  # whole numbers that nobody reads
PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack", ".h5", ".onnx")

#: How a LoRA's weights call themselves, alone or inside a network.
ADAPTER = re.compile(r"(^|[._])lora([._]|$)|base_layer", re.IGNORECASE)


def read_index(folder: Path) -> dict[str, Any]:
    """A pipeline's model_index.json.

    Raises:
        UserError: There is none, or it does not name the pipeline's class.
    """
    file = folder / INDEX
    if not (file.exists() or file.is_symlink()):
        single = sorted(f.name for f in folder.glob("*.safetensors"))
        hint = f"; a checkpoint in one file is model.path={folder / single[0]}" if single else ""
        raise UserError(
            f"no diffusers pipeline at {str(folder)!r}: it has no {INDEX}, which names the"
            f" parts{hint}"
        )
    index = read_json(file)
    if not isinstance(index.get("_class_name"), str):
        raise UserError(
            f"{file} has no _class_name, the name of the pipeline's class; expected one such as"
            " StableDiffusionPipeline"
        )
    return index


def require_regular(folder: Path) -> None:
    """Checks that a part's folder is there and that what lies in it can be read.

    Raises:
        UserError: No folder, or an entry that is no file.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not there, though {folder.parent / INDEX} names it")
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir() or entry.suffix in (".safetensors", ".json", ".txt", ".model"):
            regular(entry)


@dataclass(frozen=True)
class Weights:
    """The weights of a network in safetensors.

    Attributes:
        files: The file of the weights, or the shards that an index names.
        variant: What stands in their names, such as ``fp16``; None where nothing does.
    """

    files: tuple[Path, ...]
    variant: str | None

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight's shape, from the files' headers alone.

        Raises:
            UserError: A file is no safetensors, is cut short, or holds no numbers to compute with.
        """
        return {name: shape for file in self.files for name, shape in headers(file)}

    @property
    def count(self) -> int:
        """How many numbers they are."""
        total = 0
        for shape in self.shapes.values():
            size = 1
            for side in shape:
                size *= side
            total += size
        return total


def headers(file: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor in a safetensors file.

    Raises:
        UserError: What :attr:`Weights.shapes` refuses.
    """
    try:
        with regular(file).open("rb") as stream:
            if stream.read(len(LFS)) == LFS:
                raise UserError(f"{file} is a pointer of Git LFS, no weights; run git lfs pull")
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                piece = opened.get_slice(name)
                if piece.get_dtype() not in FLOATS and not COUNTED.search(name):
                    raise UserError(
                        f"{file} holds {name} as {piece.get_dtype()}; expected numbers in floating"
                        " point (quantised weights are not read)"
                    )
                yield name, tuple(piece.get_shape())
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise UserError(f"{file} is damaged or cut short: {error}") from None


def weights(folder: Path, stem: str, variant: str | None) -> Weights:
    """The weights of a part's folder.

    Arguments:
        folder: The folder of the part.
        stem: How its library calls the file: ``model`` or ``diffusion_pytorch_model``.
        variant: The one wanted; None is the plain one, or the only one that is there. A part
            without the wanted one has its plain one taken, as diffusers does.

    Raises:
        UserError: None in safetensors, several variants and no choice, or shards that lack one.
    """
    by_variant = variants(folder, stem)
    if not by_variant:
        others = sorted(f.name for f in folder.iterdir() if f.suffix in (*PICKLED, ".safetensors"))
        held = f" (it holds {', '.join(others[:3])})" if others else ""
        raise UserError(
            f"{folder} has no weights in safetensors: expected {stem}.safetensors{held}; save them"
            " with save_pretrained(..., safe_serialization=True)"
        )
    if variant in by_variant or None in by_variant:
        chosen = variant if variant in by_variant else None
    elif variant is None and len(by_variant) == 1:
        (chosen,) = by_variant
    else:
        names = ", ".join(sorted(name for name in by_variant if name))
        first = sorted(name for name in by_variant if name)[0]
        raise UserError(
            f"{folder} has weights of the variants {names} alone; give model.variant={first}"
        )
    return Weights(_shards(by_variant[chosen]), chosen)


def chosen(folder: Path, index: Mapping[str, Any], variant: str | None) -> str | None:
    """The variant that was taken of any part.

    Raises:
        UserError: The one wanted is nowhere.
    """
    taken: set[str | None] = set()
    known: set[str | None] = set()
    for name in index:
        for stem in STEMS if (folder / name).is_dir() else ():
            if by_variant := variants(folder / name, stem):
                known |= set(by_variant)
                taken.add(weights(folder / name, stem, variant).variant)
    if variant is not None and variant not in taken:
        names = ", ".join(sorted(name or "null" for name in known))
        raise UserError(f"no part of {folder} has model.variant={variant}; they have {names}")
    return next((name for name in sorted(taken, key=str) if name), None)


def variants(folder: Path, stem: str) -> dict[str | None, Path]:
    """Every variant of a part's weights: the file, or the index of its shards."""
    single = re.compile(rf"{stem}(?:\.([^.]+?)(?<!-\d{{5}}-of-\d{{5}}))?\.safetensors")
    index = re.compile(rf"{stem}\.safetensors\.index(?:\.([^.]+))?\.json")
    by_variant: dict[str | None, Path] = {}
    for pattern in (index, single) if stem == "model" else (single, index):  # the last one counts
        for file in sorted(folder.iterdir()):
            if match := pattern.fullmatch(file.name):
                by_variant[match[1]] = file
    return by_variant


def _shards(file: Path) -> tuple[Path, ...]:
    if file.suffix != ".json":
        return (file,)
    named = read_json(file).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise UserError(f"{file} names no weights; expected weight_map")
    shards = sorted({str(name) for name in named.values()})
    for name in shards:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(
                f"{file} names {name[:80]!r}; expected safetensors files beside it, since others"
                " are not read"
            )
    if lacking := [name for name in shards if not (file.parent / name).exists()]:
        raise UserError(
            f"{file} names {len(shards)} files, and {len(lacking)} of them are not there:"
            f" {', '.join(lacking[:3])}"
        )
    return tuple(regular(file.parent / name) for name in shards)


def adapters(folder: Path) -> list[str]:
    """Names of the files beside a pipeline's parts that hold a LoRA or the like, which is left."""
    left = []
    for file in sorted(folder.glob("*.safetensors")):
        if not file.is_file():
            continue
        try:
            names = [name for name, _ in headers(file)]
        except UserError:  # nothing that would be loaded
            continue
        embeddings = file.name.startswith("learned_embeds")
        if embeddings or any(ADAPTER.search(name) for name in names):
            left.append(file.name)
    for place in sorted(folder.iterdir()):
        inside = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")
        if place.is_dir():
            left += [f"{place.name}/{name}" for name in inside if (place / name).is_file()]
    return left
