"""Where a pipeline comes from: a local folder or file, or a repository of the hub.

What lies in a local folder is read in ``files``; the parts are loaded in ``parts``.
"""

import os
import re
from pathlib import Path

import httpx2
from diffusers import DiffusionPipeline
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from anisomem.errors import UserError
from anisomem.models.architecture import EXTRAS
from anisomem.storage.foreign import is_repository, located

UNREACHED = (HfHubHTTPError, OSError, httpx2.HTTPError, ValueError)
#: A part's weights: its folder, and the variant in the name.
WEIGHTS = re.compile(r"(\w+)/[\w-]+?(?:\.([^./]+?))?(?:-\d{5}-of-\d{5})?\.safetensors")
WANTED = {"use_safetensors": True, "safety_checker": None}  # of a repository


def present(path: str, revision: str | None, variant: str | None = None) -> bool:
    """Whether a pipeline can be loaded without the network."""
    if located(path):
        return True
    settings = {"revision": revision, "variant": variant, "local_files_only": True}
    try:
        DiffusionPipeline.download(path, **settings, **WANTED)
    except (OSError, ValueError):  # the latter is a name that no repository can have
        return False
    return True


def size(path: str, revision: str | None, variant: str | None = None) -> int | None:
    """Bytes that :func:`fetch` downloads of a repository, None where the hub does not answer."""
    try:
        siblings = HfApi().model_info(path, revision=revision, files_metadata=True).siblings or []
    except UNREACHED:
        return None
    # Checkpoints in one file and other variants are left where they are.
    parts = [f for f in siblings if "/" in f.rfilename]
    wanted = [f for f in parts if f.rfilename.partition("/")[0] not in EXTRAS]
    held = [(f, match[1], match[2]) for f in wanted if (match := WEIGHTS.fullmatch(f.rfilename))]
    having = {folder for _, folder, its in held if its == variant}
    kept = [f for f, folder, its in held if its == (variant if folder in having else None)]
    kept += [f for f in wanted if f.rfilename.endswith((".json", ".txt"))]
    return sum(f.size or 0 for f in kept)


def fetch(path: str, revision: str | None, variant: str | None = None) -> Path:
    """The local folder or file itself, or the repository's snapshot, whose name is its commit.

    Raises:
        OSError, ValueError, httpx2.HTTPError: Neither is to be had.
        UserError: The repository has other variants alone.
    """
    if local := located(path):
        return local
    if not is_repository(path):
        raise OSError("it is not here, and a repository is named OWNER/NAME")
    try:
        snapshot = DiffusionPipeline.download(path, revision=revision, variant=variant, **WANTED)
    except UNREACHED:
        if variant is None and (others := _variants(path, revision)):
            raise UserError(
                f"{path} has weights of the variants {', '.join(others)} alone; give"
                f" model.variant={others[0]}"
            ) from None
        raise
    return Path(os.fspath(snapshot))


def _variants(path: str, revision: str | None) -> list[str]:
    """The variants of a repository that has no plain weights in safetensors."""
    try:
        names = HfApi().list_repo_files(path, revision=revision)
    except UNREACHED:
        return []
    found = {match[2] for match in map(WEIGHTS.fullmatch, names) if match}
    return sorted(found) if None not in found else []
