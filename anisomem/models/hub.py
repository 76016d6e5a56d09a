"""Where a pipeline comes from: a local folder or file, or a repository of the hub.

What lies in a local folder is read in ``files``; the parts are loaded in ``parts``.
"""

import os
from pathlib import Path

import httpx2
from diffusers import DiffusionPipeline
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from anisomem.models.architecture import EXTRAS
from anisomem.storage.foreign import located

WANTED = {"use_safetensors": True, "safety_checker": None}  # of a repository


def present(path: str, revision: str | None) -> bool:
    """Whether a pipeline can be loaded without the network."""
    if located(path):
        return True
    try:
        DiffusionPipeline.download(path, revision=revision, local_files_only=True, **WANTED)
    except (OSError, ValueError):  # the latter is a name that no repository can have
        return False
    return True


def size(path: str, revision: str | None) -> int | None:
    """Bytes that :func:`fetch` downloads of a repository, None where the hub does not answer."""
    try:
        siblings = HfApi().model_info(path, revision=revision, files_metadata=True).siblings or []
    except (HfHubHTTPError, OSError, httpx2.HTTPError, ValueError):
        return None
    # Checkpoints in one file and half-precision variants are left where they are.
    wanted = [f for f in siblings if "/" in f.rfilename and f.rfilename.count(".") == 1]
    wanted = [f for f in wanted if f.rfilename.partition("/")[0] not in EXTRAS]
    kept = [f for f in wanted if f.rfilename.endswith((".safetensors", ".json", ".txt"))]
    return sum(f.size or 0 for f in kept)


def fetch(path: str, revision: str | None, variant: str | None = None) -> Path:
    """The local folder or file itself, or the repository's snapshot, whose name is its commit.

    Raises:
        OSError, ValueError, httpx2.HTTPError: Neither is to be had.
    """
    if local := located(path):
        return local
    snapshot = DiffusionPipeline.download(path, revision=revision, variant=variant, **WANTED)
    return Path(os.fspath(snapshot))
