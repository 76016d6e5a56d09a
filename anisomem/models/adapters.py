"""LoRA files and learned embeddings that a user puts on a model, before any of them is loaded.

An entry of ``model.adapters`` is ``FILE`` or ``FILE:WEIGHT``, a LoRA's weight being 1 unless it is
said. Files are known by their sha256, and are read from safetensors alone. What puts them on a
pipeline is in ``lora`` and ``embeddings``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from safetensors import safe_open

from anisomem.errors import UserError
from anisomem.models import files
from anisomem.storage import digests
from anisomem.storage.foreign import located, regular

SETTING = "model.adapters"
SUFFIX = ".safetensors"
LORA, EMBEDDING = "LoRA", "embedding"

#: What other files of weights hold, by names of theirs, and why they are not read.
OTHERS = {
    r"(^|\.)(dora_scale|lora_magnitude_vector)": "a DoRA, whose magnitudes diffusers leaves out",
    r"(^|\.)(hada_w\d|lokr_w\d|oft_|boft_|glora_|ia3_|on_input$)": (
        "a LyCORIS adapter that is no LoRA"
    ),
    r"^lora_controlnet$|^control_model\.|controlnet_": "a ControlNet",
    r"^(image_proj|ip_adapter)\.": "an IP-Adapter",
    r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner)\.": (
        "a whole model, which is model.path=FILE"
    ),
}
#: Names under which embeddings are kept that say no word: the file's name is the word.
WORDLESS = ("emb_params", "clip_l", "clip_g")


@dataclass(frozen=True)
class Adapter:
    """A file and how strongly it is put on.

    Attributes:
        file: The file, in safetensors.
        said: The weight that was given; None where none was.
    """

    file: Path
    said: float | None = None

    @property
    def weight(self) -> float:
        """What a LoRA is multiplied by."""
        return 1.0 if self.said is None else self.said

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape.

        Raises:
            UserError: The file is no safetensors, is cut short, or holds no floating point.
        """
        return dict(files.headers(self.file))

    @cached_property
    def kind(self) -> str:
        """:data:`LORA` or :data:`EMBEDDING`.

        Raises:
            UserError: It is neither, or an embedding with a weight.
        """
        names = list(self.shapes)
        for pattern, said in OTHERS.items():
            if found := [name for name in names if re.search(pattern, name)]:
                raise UserError(
                    f"{self.file} holds {said} ({len(found)} of its {len(names)} weights,"
                    f" {first(found)}); expected a LoRA or a learned embedding"
                )
        if any(files.ADAPTER.search(name) for name in names):
            return LORA
        single = len(names) == 1 and len(self.shapes[names[0]]) <= 2
        if not (single or (names and set(names) <= {"clip_l", "clip_g"})):
            raise UserError(
                f"{self.file} is no LoRA and no learned embedding: {len(names)} weights"
                f"{f' ({first(names)})' if names else ''}; expected names of a LoRA, or the one"
                " tensor of a word"
            )
        if self.said is not None:
            raise UserError(
                f"{self.file} is a learned embedding, which has no weight; give it in {SETTING}"
                f" without :{self.said:g}"
            )
        return EMBEDDING

    @property
    def word(self) -> str:
        """What a prompt calls an embedding."""
        (name, *_) = self.shapes
        return self.file.stem if name in WORDLESS else name

    @property
    def described(self) -> dict[str, Any]:
        """What of it changes a number.

        Raises:
            UserError: What :attr:`kind` refuses.
        """
        sha256 = digests.sha256_of_file(self.file)
        if self.kind == LORA:
            return {"kind": LORA, "sha256": sha256, "weight": self.weight, **self._config}
        return {"kind": EMBEDDING, "sha256": sha256, "word": self.word}

    @property
    def _config(self) -> dict[str, str]:
        """The sha256 of PEFT's settings beside a file that keeps its scale there."""
        return {"settings": digests.sha256_of_file(self.settings)} if self.settings else {}

    @property
    def settings(self) -> Path | None:
        """The file beside it in which PEFT says the scale, of a file with PEFT's own names.

        Raises:
            UserError: It is not there.
        """
        if not any(name.startswith(PEFT) for name in self.shapes) or self.metadata is not None:
            return None
        file = self.file.with_name("adapter_config.json")
        if not file.exists():
            raise UserError(
                f"{self.file} has PEFT's own names, whose scale stands in {file.name}, and there"
                " is none beside it"
            )
        return file

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """What diffusers has written of a LoRA's settings into the file's header, if it has.

        Raises:
            UserError: It is damaged.
        """
        with safe_open(self.file, framework="pt") as opened:
            text = (opened.metadata() or {}).get("lora_adapter_metadata")
        if text is None:
            return None
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise UserError(f"{self.file} has lora_adapter_metadata in its header that is no JSON")
        return said


#: How PEFT begins the names in its own files.
PEFT = "base_model.model."


def first(names: Sequence[str]) -> str:
    """The first three of some names."""
    return f"{', '.join(name[:120] for name in names[:3])}{', ...' if len(names) > 3 else ''}"


def parsed(entries: Any, setting: str = SETTING) -> tuple[Adapter, ...]:
    """The adapters that a setting names, in its order.

    Arguments:
        entries: What it was given.
        setting: Its name, for messages.

    Raises:
        UserError: It is no list of files with weights, a weight is no number, a file is not there,
            is no safetensors, or is named twice.
    """
    if entries is None:
        return ()
    if isinstance(entries, str) or not isinstance(entries, Sequence):
        raise _no_list(entries, setting)
    named = [_parsed(entry, setting) for entry in entries]
    places = [one.file.resolve() for one in named]
    for one, place in zip(named, places, strict=True):
        if places.count(place) > 1:
            raise UserError(f"{setting} names {one.file} twice; give it once, with its weight")
    return tuple(named)


def _no_list(given: Any, setting: str) -> UserError:
    return UserError(
        f"{setting} must be a list of files, '{setting}=[FILE.safetensors:0.8]'; got"
        f" {str(given)[:200]!r}"
    )


def _parsed(entry: Any, setting: str) -> Adapter:
    if not isinstance(entry, str) or not entry.strip() or entry.startswith(":"):
        raise _no_list(entry, setting)
    name, colon, said = (part.strip() for part in entry.rpartition(":"))
    if not colon or "/" in said or said.lower().endswith((SUFFIX, *files.PICKLED)):
        return Adapter(_file(entry.strip(), setting))
    return Adapter(_file(name, setting), _weight(name, said, setting))


def _weight(name: str, said: str, setting: str) -> float:
    try:
        weight = float(said)
    except ValueError:
        weight = float("nan")
    if not isfinite(weight):
        raise UserError(
            f"{setting}: the weight of {name} is {said[:40]!r}; expected a finite number,"
            f" '{setting}=[{name}:0.8]'"
        )
    return weight


def _file(name: str, setting: str) -> Path:
    """The file of a name, which is there and in safetensors."""
    place, example = located(name), f"'{setting}=[FILE.safetensors:0.8]'"
    if place is None:
        raise UserError(f"{setting}: {name} is not there; expected a file, {example}")
    if place.is_dir():
        inside = sorted(file.name for file in place.glob(f"*{SUFFIX}"))
        hint = f"'{setting}=[{place / inside[0]}]'" if inside else example
        raise UserError(f"{setting}: {name} is a folder; give a file in safetensors, {hint}")
    if place.suffix.lower() in files.PICKLED:
        raise UserError(
            f"{setting}: {name} may hold program code and is not read; where you trust it, save"
            " its tensors as safetensors: save_file(torch.load(FILE, weights_only=True),"
            f" '{place.stem}{SUFFIX}') with save_file of safetensors.torch"
        )
    if place.suffix.lower() != SUFFIX:
        raise UserError(f"{setting}: {name} is no safetensors file; other files are not read")
    return regular(place)
