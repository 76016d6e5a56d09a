"""Hides prompts: what stands for one is its hash with a salt that the packet does not hold.

Whoever is given the salt can look a prompt up, by the HMAC-SHA256 of its text under the salt;
without it a list of captions tells nothing, which hashes alone would not prevent.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from secrets import token_hex

from anisomem.datasets.prompts import PromptSet

SALT = 32  # bytes


def new_salt() -> str:
    """A salt in hexadecimal digits."""
    return token_hex(SALT)


def hidden(text: str, salt: str) -> str:
    """What stands for a text."""
    return hmac.new(bytes.fromhex(salt), text.encode("utf-8", "surrogatepass"), sha256).hexdigest()


def hidden_all(texts: Sequence[str], salt: str) -> list[str]:
    """What stands for each of some texts."""
    return [hidden(text, salt) for text in texts]


def hidden_set(prompts: PromptSet, salt: str) -> PromptSet:
    """A prompt set without ids, texts, and all that shows what they are.

    Labels, clusters, blocks, kinds and what was counted stay.
    """
    return replace(
        prompts,
        ids=hidden_all(prompts.ids, salt),
        texts=hidden_all(prompts.texts, salt),
        pictures=None,
        families=None,
        urls=None,
    )
