"""Whether the parts of a pipeline belong together: what each hands on is what the next one reads.

Parts that do not agree raise deep inside a library at best. At worst every prompt reaches the
network as the same tokens, or a network that expects a picture besides is given noise for it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from typing import Any

from anisomem.errors import UserError

LEAST_LIMIT = 3  # tokens: beginning, end and one of a prompt
SPARE_ROWS = 128  # embeddings that a text encoder may have beyond its tokens, or a tenth
LONE = 0.01  # of a vocabulary that may be out of reach of its merges
PROBES = ("a", "a cat", "a dog", "a red dog on the table", "the old man and his very small house")
PROBED = 64  # tokens of each at most, so that no tokenizer warns of their length

#: What a network says it expects besides latents, time and prompt, in its own words and in ours.
MORE_INPUTS = {
    "time_cond_proj_dim": "an embedding of the guidance scale (a consistency model)",
    "class_embed_type": "class labels",
    "num_class_embeds": "class labels",
    "encoder_hid_dim_type": "a picture's embedding",
    "addition_embed_type": "an embedding besides the prompt's",
}
#: What a pipeline's part hands to the network.
MORE_PARTS = {
    "controlnet": "a ControlNet's picture",
    "adapter": "an adapter's picture",
    "depth_estimator": "a depth map",
    "image_normalizer": "a picture's embedding",
    "low_res_scheduler": "a picture of low resolution",
    "motion_adapter": "the frames of a video",
}
#: By how many channels a U-Net reads beyond the autoencoder's.
MORE_CHANNELS = {
    1: "a depth map",
    3: "a picture of low resolution",
    4: "the picture to edit",
    5: "a mask and the masked picture (inpainting)",
}


@dataclass(frozen=True)
class Reader:
    """A text encoder and what it is given.

    Attributes:
        name: The encoder's among the pipeline's parts.
        tokenizer: Makes its tokens.
        encoder: Reads them.
        pooled: Whether its state at the prompt's end is used besides.
        given: Tokens of a prompt that it is given; None is the tokenizer's own limit.
    """

    name: str
    tokenizer: Any
    encoder: Any
    pooled: bool
    given: int | None = None

    @property
    def limit(self) -> int:
        """Tokens of a prompt that it is given, marks included; others are cut off."""
        return self.given or self.tokenizer.model_max_length

    @property
    def rows(self) -> int:
        """Tokens that the encoder has an embedding of."""
        return len(self.encoder.get_input_embeddings().weight)

    @property
    def positions(self) -> int | None:
        """Tokens of a prompt that it has a place for; None where it counts distances."""
        positions = getattr(self.encoder.config, "max_position_embeddings", None)
        return positions if isinstance(positions, int) else None


def require_parts(index: Mapping[str, Any]) -> None:
    """Checks that no part of a pipeline makes the network another input.

    Arguments:
        index: The pipeline's model_index.json.

    Raises:
        UserError: A part makes the network another input.
    """
    for name in MORE_PARTS:
        if index.get(name) not in (None, [None, None]):
            raise _nobody(MORE_PARTS[name], f"the pipeline has the part {name}")


def require_inputs(config: Any, vae: Any, allowed: Sequence[str] = ()) -> None:
    """Checks that a denoiser reads latents, time and prompt, and returns latents.

    Arguments:
        config: The denoiser's configuration.
        vae: The autoencoder, or None.
        allowed: Values of its settings that the family gives the input of.

    Raises:
        UserError: It expects an input that nobody gives.
    """
    for setting, said in MORE_INPUTS.items():
        value = config.get(setting)
        if value not in (None, *allowed):
            raise _nobody(said, f"its config.json has {setting}={value}")
    if config.get("attention_type", "default") != "default":
        raise _nobody("boxes", f"its config.json has attention_type={config['attention_type']}")
    reads, returns = config["in_channels"], config.get("out_channels") or config["in_channels"]
    latent = vae.config.latent_channels if vae is not None else returns
    if reads > latent:
        said = MORE_CHANNELS.get(reads - latent, f"{reads - latent} channels")
        whose = "the autoencoder's latents" if vae is not None else "what it returns"
        raise _nobody(said, f"it reads {reads} channels, and {whose} have {latent}")
    if reads != latent or returns != latent:
        raise UserError(
            f"the network reads {reads} channels and returns {returns}, and the autoencoder's"
            f" latents have {latent}; expected the same number"
        )


def _nobody(what: str, shown: str) -> UserError:
    return UserError(
        f"the network expects {what}, which nobody gives it: {shown}; expected a text-to-image"
        " network, which reads latents, time and prompt"
    )


def require_autoencoder(vae: Any) -> None:
    """Checks how latents are scaled.

    Raises:
        UserError: The setting is no number.
    """
    factor, shift = vae.config.get("scaling_factor"), vae.config.get("shift_factor")
    if not _number(factor) or factor == 0 or not (shift is None or _number(shift)):
        raise UserError(
            f"the autoencoder's config.json has scaling_factor {factor} and shift_factor {shift};"
            " expected numbers, the first not 0"
        )
    if vae.config.get("latents_mean") is not None or vae.config.get("latents_std") is not None:
        raise UserError(
            "the autoencoder's config.json has latents_mean and latents_std, by which nobody"
            " scales latents here; expected null"
        )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def require_widths(given: int, expected: Any, what: str) -> None:
    """Checks that what the text encoders hand on is as wide as what the network reads.

    Arguments:
        given: Numbers a token or prompt.
        expected: How many numbers the network reads, one number or one a block.
        what: Both, in words.

    Raises:
        UserError: It is not.
    """
    wide = expected if isinstance(expected, list | tuple) else [expected]
    if any(width != given for width in wide):
        raise UserError(f"{what}: {given} given, {expected} expected; the parts are of two models")


def require_text(readers: Sequence[Reader]) -> None:
    """Checks that prompts reach every text encoder as themselves.

    A tokenizer's limit that is missing, or beyond the encoder's positions, becomes theirs.

    Raises:
        UserError: A tokenizer has no vocabulary, or another than its encoder; or no room.
    """
    for reader in readers:
        _require_vocabulary(reader)
        _require_limit(reader)
        _require_marks(reader)
    limits = [reader.tokenizer.model_max_length for reader in readers if reader.positions]
    if len(set(limits)) > 1:
        raise UserError(
            f"the text encoders read {' and '.join(map(str, limits))} tokens of a prompt; expected"
            " the same number (model_max_length of the tokenizers)"
        )


def other_text(ours: Sequence[Reader], theirs: Sequence[Reader]) -> str:
    """In what prompts reach the text encoders of two models otherwise, "" if in nothing.

    Their encoders' weights may differ: each model reads its own.
    """
    if (names := [one.name for one in ours]) != (others := [one.name for one in theirs]):
        return f"its text encoders are {', '.join(others)}, and the model's {', '.join(names)}"
    for one, other in zip(ours, theirs, strict=True):
        name = one.name.replace("text_encoder", "tokenizer")
        if one.limit != other.limit:
            return f"its {name} takes {other.limit} tokens, and the model's {one.limit}"
        same = one.tokenizer.get_vocab() == other.tokenizer.get_vocab()
        if not same or _probed(one.tokenizer) != _probed(other.tokenizer):
            return f"its {name} makes other tokens of a prompt than the model's"
    return ""


def _require_vocabulary(reader: Reader) -> None:
    named, tokenizer = reader.name.replace("text_encoder", "tokenizer"), reader.tokenizer
    known = tokenizer.get_vocab()
    beyond = sorted(token for token, i in known.items() if i >= reader.rows)
    if beyond:
        raise UserError(
            f"{named} has {len(known):,} tokens, and {reader.name} embeddings of {reader.rows:,}:"
            f" none of {len(beyond)} tokens ({', '.join(map(repr, beyond[:3]))}); the parts are of"
            " two models, or tokens were added without their embeddings"
        )
    if reader.rows - len(known) > max(SPARE_ROWS, reader.rows // 10):
        raise UserError(
            f"{named} has {len(known):,} tokens, and {reader.name} embeddings of {reader.rows:,};"
            " the vocabulary was not saved whole, or the parts are of two models"
        )
    if lone := _out_of_reach(tokenizer, known):
        raise UserError(
            f"{named} cannot reach {len(lone):,} of its {len(known):,} tokens"
            f" ({', '.join(map(repr, lone[:3]))}): merges are missing; expected those that the"
            " vocabulary was made with (merges.txt or tokenizer.json)"
        )
    ids = _probed(tokenizer)
    for (a, left), (b, right) in combinations(zip(PROBES, ids, strict=True), 2):
        # What is unknown is one token, however it reads; length alone does not tell prompts apart.
        if left == right or set(left) == set(right):
            raise UserError(
                f"{named} makes the same tokens of {a!r} and {b!r}; its vocabulary is missing"
            )


def _probed(tokenizer: Any) -> list[list[int]]:
    tokens: list[list[int]] = tokenizer(list(PROBES), truncation=True, max_length=PROBED).input_ids
    return tokens


def _out_of_reach(tokenizer: Any, known: dict[str, int]) -> list[str]:
    """Tokens that no merge of a byte-pair vocabulary makes, where they are many."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str())["model"] if backend is not None else {}
    if model.get("type") != "BPE":
        return []
    made = {"".join(pair) for pair in model["merges"]}
    marks = {*tokenizer.all_special_tokens, *tokenizer.added_tokens_encoder}
    lone = [
        token
        for token in model["vocab"]
        if token not in made and token not in marks and len(token.removesuffix("</w>")) > 1
    ]
    return sorted(lone) if len(lone) > LONE * len(known) else []


def _require_limit(reader: Reader) -> None:
    tokenizer, positions = reader.tokenizer, reader.positions
    limit = tokenizer.model_max_length
    if positions is None and not _number(limit):
        return  # what reads it cuts prompts at a length of its own
    if positions is not None and not (_number(limit) and limit <= positions):
        limit = positions
    if limit < LEAST_LIMIT:
        raise UserError(
            f"{reader.name.replace('text_encoder', 'tokenizer')} has model_max_length={limit},"
            f" which leaves no room for a prompt; expected {positions or 'at least 3'}"
        )
    tokenizer.model_max_length = int(limit)


def _require_marks(reader: Reader) -> None:
    named, tokenizer = reader.name.replace("text_encoder", "tokenizer"), reader.tokenizer
    if tokenizer.pad_token_id is None:
        raise UserError(f"{named} has no pad_token, and prompts of one batch need one length")
    end = tokenizer.eos_token_id
    probe = _probed(tokenizer)[0]
    if end is None or end not in probe:
        raise UserError(
            f"{named} does not mark a prompt's end (eos_token={tokenizer.eos_token!r}), and"
            f" {reader.name} reads it"
        )
    if not reader.pooled:
        return
    if not hasattr(reader.encoder, "text_projection"):
        raise UserError(
            f"{reader.name} is a {type(reader.encoder).__name__}, which projects no prompt's"
            " state; expected a CLIPTextModelWithProjection"
        )
    # Where a prompt's pooled state is taken; 2 is an old way to say: at the largest token.
    taken = getattr(reader.encoder.config, "eos_token_id", None)
    if taken != end and not (taken == 2 and max(probe) == end):
        raise UserError(
            f"{reader.name} takes a prompt's state at token {taken} (eos_token_id in its"
            f" config.json), and {named} ends prompts with {end}"
        )
