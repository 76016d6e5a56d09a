"""The stages that make the bundled models, from icons to diffusers folders.

Each stage has a file of its own; the commands are ``scripts/train_testbed.py`` and
``confirm_testbed.py``.
"""

import json
from collections.abc import Sequence
from copy import copy, deepcopy
from functools import cache
from pathlib import Path

from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from anisomem.errors import UserError
from anisomem.testbed import autoencoder, text
from anisomem.testbed.diffusion import VARIANTS, Training, turns
from anisomem.testbed.latents import Encoded
from anisomem.testbed.networks import Denoiser
from anisomem.testbed.recipe import RECIPES, Recipe

SCALED_BY = 2000  # pictures whose latents' spread sets the scaling factor


def shared(recipe: Recipe, work: Path) -> Path:
    """The folder in ``work`` of what all variants of a recipe share; a variant's has its name."""
    return work / "recipes" / recipe.name


def train_autoencoder(
    recipe: Recipe, packages: Path, work: Path, device: str = "cpu", workers: int = 0
) -> AutoencoderKL:
    """The autoencoder, from the recipe's folder in ``work`` where it was trained before."""
    folder = shared(recipe, work)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "vae").exists():
        shown = recipe.varied_pictures(packages, recipe.autoencoder.pictures, workers)
        vae = autoencoder.train(recipe.autoencoder, shown, folder / "vae.pt", device)
        factor = autoencoder.scaling_factor(vae, shown[:SCALED_BY])
        vae.register_to_config(scaling_factor=factor)
        vae.save_pretrained(folder / "vae")
    return AutoencoderKL.from_pretrained(folder / "vae").eval().to(device)


def polish_decoder(
    recipe: Recipe, packages: Path, work: Path, vae: AutoencoderKL, workers: int = 0
) -> AutoencoderKL:
    """The autoencoder with its decoder trained on, where the recipe says so."""
    (pictures, _), folder = recipe.autoencoder.polished, shared(recipe, work)
    if not pictures:
        return vae
    if not (folder / "polished").exists():
        shown = recipe.varied_pictures(packages, pictures, workers)
        autoencoder.polish(recipe.autoencoder, vae, shown, folder / "decoder.pt")
        vae.save_pretrained(folder / "polished")
    return AutoencoderKL.from_pretrained(folder / "polished").eval().to(vae.device)


def encoded(
    recipe: Recipe, packages: Path, work: Path, vae: AutoencoderKL, workers: int = 0
) -> tuple[Encoded, CLIPTokenizer]:
    """The training corpus as latents and tokens, with the tokenizer."""
    corpus = recipe.corpus(packages)
    captions = [entry.caption.text for entry in corpus.entries]
    tokenizer = text.train_tokenizer(captions, recipe.vocabulary)
    icons = cache(lambda: recipe.icons(packages))
    folder = shared(recipe, work) / "latents"
    return Encoded(corpus, vae, tokenizer, icons, folder, recipe.parts, workers), tokenizer


def train(
    packages: Path,
    work: Path,
    names: Sequence[str],
    steps: int | None,
    turn: int,
    device: str = "cpu",
    workers: int = 0,
) -> list[Path]:
    """Trains variants in turns, resuming what was interrupted; their diffusers folders.

    Arguments:
        packages: Where the icon sets lie.
        work: Checkpoints and results.
        names: Names of :data:`VARIANTS`, of one recipe.
        steps: How many steps each is trained; None is what its variant says.
        turn: Steps of one before it is the next one's turn.
        device: Where they are trained.
        workers: How many processes draw the pictures, all of them before the first step; 0 draws
            here, each part when training comes to it.

    Raises:
        UserError: Variants of several recipes.
    """
    recipes = {VARIANTS[name].recipe for name in names}
    if len(recipes) > 1:
        raise UserError(f"{' and '.join(names)} have different recipes; train them one by one")
    recipe = RECIPES[recipes.pop()]
    vae = train_autoencoder(recipe, packages, work, device, workers)
    data, tokenizer = encoded(recipe, packages, work, vae, workers)
    if workers:
        data.encode(data.files)
    sources = {name: copy(data) for name in names}
    for name, source in sources.items():
        source.second = VARIANTS[name].second
    trainings = {
        name: Training(
            VARIANTS[name],
            sources[name],
            tokenizer,
            work / f"{name}.pt",
            steps,
            work / "snapshots" / name,
        )
        for name in names
    }
    for _ in turns(trainings, turn):
        pass
    vae = polish_decoder(recipe, packages, work, vae, workers).cpu()
    return [
        export(work / name, deepcopy(vae), tokenizer, training.result().cpu())
        for name, training in trainings.items()
    ]


def export(folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, denoiser: Denoiser) -> Path:
    """Writes the plain pipeline's folder, the large weights in float16."""
    pipeline = denoiser.pipeline(vae, tokenizer)
    pipeline.save_pretrained(folder, safe_serialization=True)
    # diffusers notes where a part was loaded from; that is a path of this machine.
    config = folder / "vae" / "config.json"
    settings = json.loads(config.read_text())
    settings.pop("_name_or_path", None)
    config.write_text(json.dumps(settings, indent=2) + "\n")
    return folder
