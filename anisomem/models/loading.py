"""Loads a pipeline of diffusers from what a user names, by what its family declares.

A :class:`Source` is what a user asks for; :func:`load` makes a family's pipeline of it.
"""

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx2
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from anisomem.errors import UserError, one_of
from anisomem.models import (
    adapters,
    agreement,
    architecture,
    embeddings,
    files,
    hub,
    lora,
    parts,
    single_file,
)
from anisomem.models.layout import Layout
from anisomem.models.prediction import Parameterisation
from anisomem.models.weights import WeightFiles, checked
from anisomem.storage.foreign import located

DTYPES = ("float32", "float16", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
WEIGHTS = ("pretrained", "random")
OFFLOADS = ("model", "sequential")
SLICES = ("auto", "max")
EXPECTED = "model.expected_sha256"


@dataclass(frozen=True)
class Source:
    """A local folder or checkpoint or a hub repository, and how it is to be loaded.

    Attributes:
        path: The folder, the checkpoint in one file, or the repository.
        revision: A commit, branch or tag of the repository; None is its main branch.
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        device: ``auto`` (CUDA if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        stands_for: Key of the published model whose detector weights apply.
        parameterisation: What the network is said to predict; must be what its scheduler says.
        attention_slicing: The attention slicing as ``enable_attention_slicing`` of diffusers:
            ``auto``, ``max`` or heads at a time.
        offload: ``model`` or ``sequential``: what waits in the CPU's memory and visits the
            accelerator when it is its turn.
        weights: ``random`` builds the architecture alone, for timing.
        alternative: A repository to name where ``path`` is not to be had.
        variant: What the names of the weights' files end with, such as ``fp16``; None is the plain
            ones, or the only ones that are there.
        adapters: LoRA files, with their weights, and learned embeddings, see
            :mod:`anisomem.models.adapters`.
        expected_sha256: What the weights must be, see :meth:`WeightFiles.require`; None where
            nobody says.

    Raises:
        UserError: A choice that does not exist.
    """

    path: str
    revision: str | None = None
    dtype: str = "float32"
    device: str = "auto"
    stands_for: str | None = None
    parameterisation: str | None = None
    attention_slicing: str | int | None = None
    offload: str | None = None
    weights: str = "pretrained"
    alternative: str | None = None
    variant: str | None = None
    adapters: Sequence[str] = ()
    expected_sha256: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, DTYPES)
        placed(self.device)
        one_of("weights", self.weights, WEIGHTS)
        if self.offload is not None:
            one_of("offload", self.offload, OFFLOADS)
        slices = self.attention_slicing
        if isinstance(slices, str):
            one_of("attention_slicing", slices, SLICES)
        elif slices is not None and (type(slices) is not int or slices < 1):
            # diffusers takes a number below 1 and skips the attention.
            raise UserError(
                "model.attention_slicing must be auto, max, null or a positive number of heads, "
                f"got {slices!r}"
            )
        if self.parameterisation is not None:
            one_of("parameterisation", self.parameterisation, map(str, Parameterisation))
        if self.expected_sha256 is not None:
            checked(self.expected_sha256, EXPECTED)
        adapters.parsed(self.adapters)
        if self.adapters and self.random:
            raise UserError(
                "weights=random builds the architecture alone, which takes as long with adapters"
                f" as without; leave out {adapters.SETTING}"
            )
        if self.offload and self.placed == "cpu":
            raise UserError(
                f"model.offload={self.offload} needs an accelerator; on the CPU give"
                " model.offload=null"
            )

    @property
    def placed(self) -> str:
        """The device, ``auto`` being one."""
        return placed(self.device)

    @property
    def precision(self) -> torch.dtype:
        """The type that ``dtype`` names."""
        named: torch.dtype = getattr(torch, self.dtype)
        return named

    @property
    def random(self) -> bool:
        """Whether the architecture alone is wanted."""
        return self.weights == "random"

    @cached_property
    def place(self) -> Path:
        """The folder or file, fetched where it is not here.

        Raises:
            UserError: It is not to be had.
        """
        try:
            if self.random:
                return architecture.folder(self.path)
            return hub.fetch(self.path, self.revision, self.variant)
        except (OSError, ValueError, httpx2.HTTPError) as error:
            instead = f"; try model.path={self.alternative}" if self.alternative else ""
            raise UserError(
                f"no diffusers pipeline at {self.path!r} (expected a folder with model_index.json"
                f" or a hub repository, weights in safetensors){instead}:"
                f" {str(error).splitlines()[0]}"
            ) from None

    @cached_property
    def folder(self) -> Path:
        """Where the configuration lies; that of a checkpoint in one file is the package's own.

        Raises:
            UserError: A checkpoint that is not known.
        """
        if not self.place.is_file():
            return self.place
        return architecture.folder(single_file.repository(self.place, self.parameterisation))

    @cached_property
    def index(self) -> dict[str, Any]:
        """The model_index.json of :attr:`folder`.

        Raises:
            UserError: There is none.
        """
        with readable(self.place):
            return files.read_index(self.folder)

    @property
    def repository(self) -> str | None:
        """The repository of the hub that it was fetched from, None of what lay here."""
        return None if self.random or located(self.path) else self.path

    @property
    def commit(self) -> str | None:
        """The commit that was fetched of :attr:`repository`."""
        return self.place.name if self.repository else None

    def require(self, layout: Layout) -> None:
        """Checks that it is of a family.

        Raises:
            UserError: It is of another one.
        """
        named = str(self.index["_class_name"])[:80]
        if named not in layout.names:
            what = self.path if self.folder == self.place else str(self.place)
            raise UserError(f"{what!r} is a {named}; expected a {layout.name}")


def placed(device: str) -> str:
    """A device by name, ``auto`` being CUDA if there is one.

    Raises:
        UserError: No such name.
    """
    one_of("device", device.partition(":")[0], DEVICES)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


@dataclass(frozen=True)
class Loaded:
    """A pipeline and how it was read.

    Attributes:
        pipeline: The pipeline with all parts that the family reads.
        variant: The variant of the weights' files that were read.
        cautions: What a reader of its scores must know.
        weights: The files of weights; None of random ones.
        adapters: What was put on it, in its order, for a card.
    """

    pipeline: DiffusionPipeline
    variant: str | None = None
    cautions: Sequence[str] = ()
    weights: WeightFiles | None = None
    adapters: Sequence[Mapping[str, Any]] = ()


def load(source: Source, layout: Layout) -> Loaded:
    """The pipeline of a source, safetensors only.

    Raises:
        UserError: No pipeline, one of another family, whose parts are not whole, or whose weights
            are others than were expected; an adapter that does not fit.
    """
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    source.require(layout)
    with readable(source.place):
        weights = _weights(source, layout)
        given = adapters.parsed(source.adapters)
        for one in given:
            one.described  # noqa: B018  what is none is refused before the rest is read
        made = _checkpoint if source.place.is_file() else _folder
        loaded = made(source, layout)
        put = [_put(loaded.pipeline, layout, one) for one in given]
        return replace(loaded, weights=weights, adapters=put)


def _put(
    pipeline: DiffusionPipeline, layout: Layout, adapter: adapters.Adapter
) -> Mapping[str, Any]:
    """Puts an adapter on a pipeline; what a card says of it."""
    said: dict[str, Any] = {"file": adapter.file.name, **adapter.described}
    if adapter.kind == adapters.LORA:
        return said | {"layers": lora.fuse(pipeline, layout, adapter)}
    return said | {"tokens": embeddings.learn(pipeline, layout.readers(pipeline), adapter)}


def _weights(source: Source, layout: Layout) -> WeightFiles | None:
    """The files of weights, which are those that were expected."""
    if source.random:
        return None
    parts = inspect.signature(layout.pipeline_class).parameters
    absent = architecture.absent(layout.pipeline_class, source.index)
    read = [name for name in parts if name in source.index and name not in absent]
    weights = WeightFiles.of(source.place, read, source.variant)
    if source.expected_sha256 is not None:
        weights.require(source.expected_sha256, EXPECTED)
    return weights


def _checkpoint(source: Source, layout: Layout) -> Loaded:
    made = layout.pipeline_class, source.place, source.folder, source.index, source.precision
    return Loaded(single_file.pipeline(*made, source.parameterisation))


def _folder(source: Source, layout: Layout) -> Loaded:
    folder, index = source.folder, source.index
    agreement.require_parts(index)
    made = layout.pipeline_class, folder, index, source.precision
    if source.random:
        return Loaded(parts.made(folder, "pipeline", lambda: architecture.build(*made)))
    pipeline = parts.pipeline(*made, source.variant)
    layout.require(pipeline)
    told = parts.changed(folder, pipeline, layout.denoiser)
    variant = files.chosen(folder, index, source.variant)
    if variant is not None and source.variant is None:
        told.append(f"weights of the variant {variant} alone; set model.variant={variant}")
    put = {one.file.resolve() for one in adapters.parsed(source.adapters)}
    return Loaded(pipeline, variant, [*told, *unloaded_beside(folder, put)])


@contextmanager
def readable(place: Path) -> Iterator[None]:
    """A file that cannot be read meanwhile is one line.

    Raises:
        UserError: A file could not be read.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or place} cannot be read: {error.strerror}") from None


def unloaded_beside(folder: Path, put: Collection[Path] = ()) -> list[str]:
    """What lies beside a pipeline and is not loaded, in words.

    Arguments:
        folder: The folder of the pipeline.
        put: The files that were put on it.
    """
    return [
        f"{name} beside the model is not loaded: scores are those of the model without it;"
        f" '{adapters.SETTING}=[{folder / name}]' puts it on"
        for name in files.adapters(folder)
        if (folder / name).resolve() not in put
    ]
