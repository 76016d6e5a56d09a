r"""Joint attention of Stable Diffusion 3, with tokens that are all the same taken once.

Without its T5 encoder, a prompt is followed by 256 tokens of zeros. Nothing tells their places
apart, so that they stay equal from block to block, and attending to m of them is attending to one
whose score is raised by log m:

.. math:: \frac{m\, e^{s} v}{m\, e^{s} + \dots} = \frac{e^{s + \log m} v}{e^{s + \log m} + \dots}

One token in their place takes a fourth to a half of the time that small networks spend.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class JointAttention:
    """diffusers' ``JointAttnProcessor2_0``, where the last text token may stand for several."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        standing_for: int = 1,
    ) -> tuple[Tensor, Tensor] | Tensor:
        """The attention of both streams, or of the pictures' alone.

        Arguments:
            attn: The layer with its projections.
            hidden_states: Tokens of the latents, ``[n, positions, width]``.
            encoder_hidden_states: Tokens of the prompts, ``[n, tokens, width]``.
            attention_mask: Nothing; Stable Diffusion 3 has none.
            standing_for: How many tokens the last one stands for.
        """

        def split(projected: Tensor, norm: nn.Module | None = None) -> Tensor:
            apart = projected.reshape(*projected.shape[:2], attn.heads, -1).transpose(1, 2)
            return norm(apart) if norm is not None else apart

        picture, text = hidden_states, encoder_hidden_states
        query = split(attn.to_q(picture), attn.norm_q)
        key = split(attn.to_k(picture), attn.norm_k)
        value = split(attn.to_v(picture))
        bias = None
        if text is not None:
            query = _joined(query, split(attn.add_q_proj(text), attn.norm_added_q))
            key = _joined(key, split(attn.add_k_proj(text), attn.norm_added_k))
            value = _joined(value, split(attn.add_v_proj(text)))
            if standing_for > 1:
                bias = functional.pad(
                    query.new_zeros(key.shape[2] - 1), (0, 1), value=math.log(standing_for)
                ).expand(query.shape[2], -1)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = mixed.transpose(1, 2).flatten(2)
        if text is None:
            return _projected(attn, mixed)
        words = mixed[:, picture.shape[1] :]
        if not attn.context_pre_only:
            words = attn.to_add_out(words)
        return _projected(attn, mixed[:, : picture.shape[1]]), words


def _joined(picture: Tensor, text: Tensor) -> Tensor:
    return torch.cat([picture, text], dim=2)


def _projected(attn: Any, mixed: Tensor) -> Tensor:
    through: Tensor = attn.to_out[1](attn.to_out[0](mixed))
    return through


def taken_once(tokens: Tensor, last: int) -> Tensor | None:
    """Tokens with one in place of the last ones, or None where these are not all the same.

    Its derivative is shared by those that it stands for, as theirs would be.

    Arguments:
        tokens: ``[n, tokens, width]``.
        last: How many are to be the same.
    """
    before, same = tokens[:, :-last], tokens[:, -last:]
    # That all are zeros is told in half the time.
    if same.count_nonzero() and not torch.equal(same, same[:, :1].expand_as(same)):
        return None
    return torch.cat([before, same.mean(1, keepdim=True)], dim=1)
