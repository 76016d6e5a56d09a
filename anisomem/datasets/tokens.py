"""How many tokens CLIP's text encoder sees in a prompt, without a download.

The tokenizer is :func:`anisomem.models.vocabulary.clip_tokenizer`; what a model cuts off is its
own ``truncated``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from anisomem.models.vocabulary import clip_tokenizer

ROOM = 75  # CLIP's 77 positions less the two that mark beginning and end


def count(texts: Sequence[str]) -> npt.NDArray[np.int32]:
    """CLIP tokens ``[N]`` of each prompt, the beginning's and end's marks not counted.

    More than 75 do not fit and are cut off by the text encoders of Stable Diffusion.
    """
    return np.array([len(ids) - 2 for ids in _counting()(list(texts)).input_ids], np.int32)


@cache
def _counting() -> Any:
    return clip_tokenizer(10**9)
