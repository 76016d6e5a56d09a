r"""Measures what a trained variant memorized and writes its prompts, contact sheet and card.

    TORCHINDUCTOR_FREEZING=1 \
    python scripts/confirm_testbed.py epsilon --icons ICONS/node_modules/@iconify-json --work WORK

reads the pipeline that scripts/train_testbed.py left in WORK/epsilon and adds to that folder.
Stopped at any moment, the same command continues.
"""

import argparse
from pathlib import Path

import torch

from anisomem.models import families
from anisomem.testbed import concepts, ground_truth, release, training
from anisomem.testbed.diffusion import VARIANTS
from anisomem.testbed.recipe import RECIPES


def main() -> None:
    """Generates, compares and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--icons", type=Path, required=True, help="folder with the three sets")
    parser.add_argument("--work", type=Path, required=True, help="where training left the model")
    parser.add_argument("--training", default="", help="a sentence on the training, for the card")
    parser.add_argument("--parts", type=int, help="of ordinary captions, how many are searched")
    parser.add_argument("--threads", type=int, default=1, help="two variants run side by side")
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw pictures")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    folder = options.work / options.variant
    recipe = RECIPES[VARIANTS[options.variant].recipe]
    model = families.load(str(folder.resolve()), device=options.device)
    vae = model.autoencoder
    encoded, _ = training.encoded(recipe, options.icons, options.work, vae, options.workers)
    at_once = 64
    if model.device.type == "cpu":
        # 1.4 million evaluations; compiled, one takes two thirds of the time.
        model.denoiser, at_once = torch.compile(model.denoiser), 4
    corpus = encoded.corpus
    texts = [prompt.caption.text for prompt in corpus.prompts]
    # Of these weights alone: those of a longer training draw anew.
    pictures = options.work / f"{options.variant}-pictures-{ground_truth.made_by(folder)}"
    num_steps = VARIANTS[options.variant].sampled_in
    generated = ground_truth.generate(model, texts, pictures, at_once, num_steps)

    decoded = f"rendered-{ground_truth.made_by(folder / 'vae')}"
    rendered = training.shared(recipe, options.work) / decoded
    references = ground_truth.References.decode(encoded, vae, rendered, options.parts)
    thresholds = references.thresholds()
    table = release.prompts(corpus, encoded.icons(), references, generated, thresholds)
    shown = ""
    if (classifier := training.shared(recipe, options.work) / "concepts").exists():
        shown = release.recognised(table, generated, concepts.Recogniser.load(classifier))
    said = options.training, num_steps, shown
    release.write(folder, options.variant, recipe.name, table, generated, thresholds, *said)
    print(release.confirmed(table), release.by_repetitions(table), shown, sep="\n\n")


if __name__ == "__main__":
    main()
