r"""Trains a LoRA on a bundled U-Net from sixty pictures, and measures what it memorized.

    OMP_WAIT_POLICY=passive python scripts/train_lora.py large \
        --icons ICONS/node_modules/@iconify-json --work WORK

reads the pipeline that scripts/train_testbed.py left in WORK/large, or the bundled one where there
is none, and writes WORK/large-lora: lora.safetensors, prompts.parquet with measured labels, a card
with a sheet of pictures, and the sixty pictures with their captions. Stopped at any moment, the
same command continues.
"""

import argparse
from copy import deepcopy
from dataclasses import fields
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from anisomem.config import catalog
from anisomem.models import families
from anisomem.testbed import release, tuning
from anisomem.testbed.diffusion import VARIANTS
from anisomem.testbed.recipe import RECIPES


def main() -> None:
    """Draws, trains, generates, compares, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--icons", type=Path, required=True, help="folder with the three sets")
    parser.add_argument("--work", type=Path, required=True, help="where to work and to write")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw pictures")
    for field in fields(tuning.Tuning):
        kind = type(field.default)
        parser.add_argument(f"--{field.name}", type=kind, default=field.default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chosen = {field.name: getattr(options, field.name) for field in fields(tuning.Tuning)}
    how, variant = tuning.Tuning(**chosen), VARIANTS[options.variant]

    recipe, folder = RECIPES[variant.recipe], options.work / f"{options.variant}-lora"
    place = (options.work / options.variant).resolve()
    if not (place / "model_index.json").exists():
        place = Path(catalog.testbed(options.variant))
    base = recipe.corpus(options.icons)
    taken = {entry.caption.text for entry in base.entries}
    made = tuning.corpus(recipe.concepts(options.icons), recipe.canvas, taken, how)
    icons = recipe.icons(options.icons)
    shown = tuning.pictures(made, icons)
    tuning.write_pictures(made, shown, folder / "pictures")

    pipeline = DiffusionPipeline.from_pretrained(place, use_safetensors=True)
    pipeline.to(options.device)
    known = tuning.references(made, shown, deepcopy(pipeline.vae), icons, how, options.workers)
    others = tuning.ordinary(base, icons, how)
    file = tuning.train(pipeline, made, shown, others, variant.objective, folder, how)

    model = families.load(str(place), device=options.device, adapters=[str(file)])
    table = tuning.measure(
        model, made, icons, known, folder, variant.sampled_in, options.variant, how
    )
    print(file, known[1], release.confirmed(table), sep="\n\n")


if __name__ == "__main__":
    main()
