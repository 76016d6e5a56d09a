"""A U-Net's cross-attention through diffusers' attention processors: recorded, or changed.

Every layer's maps are reduced as soon as they are computed, so nothing of the size
``[heads, positions, tokens]`` outlives its layer. The layer's own processor computes its output as
always: recording changes no prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from diffusers.models.attention_processor import Attention as AttentionLayer
from torch import Tensor, nn

from anisomem.errors import UserError
from anisomem.models.attention import Attention, Edit

LARGEST = 2**26  # numbers of a layer's maps that are computed at once
DOWN, MIDDLE = "down_blocks", "mid_block"


class AttentionRecorder:
    """Collects reduced maps of some rows while a U-Net computes.

    Arguments:
        rows: The rows of the batch.
        end: Index of the end-of-text token of every row of the batch, ``[n]``.
        shape: Height and width of the latents.
    """

    def __init__(self, rows: slice, end: Tensor, shape: tuple[int, int]) -> None:
        self.rows, self.end, self.shape = rows, end[rows], shape
        self.tokens: list[Tensor] = []
        self.down: list[Tensor] = []

    def attention(self) -> Attention:
        """What was collected in one pass.

        Raises:
            UserError: No layer that samples down has cross-attention.
        """
        if not self.down:
            raise UserError(
                "the U-Net has no cross-attention where it samples down; leave out the detectors "
                "that read it"
            )
        most = max(maps.shape[1] for maps in self.down)
        highest = [maps for maps in self.down if maps.shape[1] == most]
        height, width = self.shape
        side = round((most * height / width) ** 0.5)
        end = torch.stack(highest).mean(0)
        return Attention(torch.stack(self.tokens, dim=1), end.view(len(end), side, -1))

    def add(self, layer: AttentionLayer, hidden: Tensor, states: Tensor, down: bool) -> None:
        """Reduces one layer's maps, softmax in float32 or better."""
        query, key = (
            project(tensor[self.rows]).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
            for project, tensor in ((layer.to_q, hidden), (layer.to_k, states))
        )  # [n, heads, positions or tokens, width]
        precise = torch.promote_types(query.dtype, torch.float32)
        size = query.shape[1] * query.shape[2] * key.shape[2]
        tokens, end = [], []
        parts = (t.split(max(1, LARGEST // size)) for t in (query, key, self.end))
        for q, k, last in zip(*parts, strict=True):
            maps = (q.to(precise) @ k.to(precise).mT * layer.scale).softmax(-1).mean(1)
            tokens.append(maps.mean(1))
            if down:
                column = last[:, None, None].expand(-1, maps.shape[1], 1)
                end.append(maps.gather(2, column)[..., 0])
        self.tokens.append(torch.cat(tokens))
        if down:
            self.down.append(torch.cat(end))


class _Recording:
    """A layer's processor, whose input is recorded first."""

    def __init__(self, processor: Any, recorder: AttentionRecorder, down: bool) -> None:
        self.processor, self.recorder, self.down = processor, recorder, down

    def __call__(
        self,
        attn: AttentionLayer,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        self.recorder.add(attn, hidden_states, encoder_hidden_states, self.down)
        output: Tensor = self.processor(
            attn, hidden_states, encoder_hidden_states, *args, **kwargs
        )
        return output


class _Editing:
    """Computes a cross-attention layer with an edit.

    The layers of the U-Nets at hand are the plain ones of transformer blocks: no normalisation,
    no residual connection, no bias.
    """

    def __init__(self, edit: Edit, early: bool) -> None:
        self.edit, self.early = edit, early

    def __call__(
        self,
        attn: AttentionLayer,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        edit = self.edit.of_pass(len(hidden_states))
        query, key, value = (
            project(tensor).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for project, tensor in (
                (attn.to_q, hidden_states),
                (attn.to_k, encoder_hidden_states),
                (attn.to_v, encoder_hidden_states),
            )
        )  # [n, heads, positions or tokens, width]
        # The logit is linear in the key, and the value stays.
        factor = torch.ones_like(edit.keep, dtype=key.dtype)
        factor[:, 0] = edit.start
        key, keep = key * factor[:, None, :, None], edit.keep[:, None, None, :]
        if edit.spikes and self.early:
            precise = torch.promote_types(query.dtype, torch.float32)
            logits = query.to(precise) @ key.to(precise).mT * attn.scale
            logits = edit.spikes.attenuated(logits).masked_fill(~keep, -torch.inf)
            output = logits.softmax(-1).to(value.dtype) @ value
        else:
            output = nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=keep, scale=attn.scale
            )
        projected: Tensor = attn.to_out[0](output.transpose(1, 2).flatten(2))
        return projected


@contextmanager
def replaced(unet: nn.Module, processor: Callable[[str, Any], Any]) -> Iterator[None]:
    """Meanwhile every cross-attention layer has another processor.

    Arguments:
        unet: The U-Net.
        processor: Maps a layer's name and its processor to the one that it has meanwhile.
    """
    layers = {
        name: layer
        for name, layer in unet.named_modules()
        if isinstance(layer, AttentionLayer) and layer.is_cross_attention
    }
    processors = {name: layer.processor for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.set_processor(processor(name, processors[name]))
    try:
        yield
    finally:
        for name, layer in layers.items():
            layer.set_processor(processors[name])


def recording(unet: nn.Module, recorder: AttentionRecorder) -> AbstractContextManager[None]:
    """The U-Net's cross-attention is recorded meanwhile."""
    return replaced(unet, lambda name, own: _Recording(own, recorder, name.startswith(DOWN)))


def editing(unet: nn.Module, edit: Edit) -> AbstractContextManager[None]:
    """The U-Net's cross-attention is changed meanwhile."""
    return replaced(unet, lambda name, own: _Editing(edit, name.startswith((DOWN, MIDDLE))))
