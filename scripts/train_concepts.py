r"""Trains the classifier of a recipe's pictures, as its autoencoder renders them.

    python scripts/train_concepts.py small --icons ICONS/node_modules/@iconify-json --work WORK

Stopped at any moment, the same command continues. Writes WORK/recipes/small/concepts.
"""

import argparse
from pathlib import Path

import torch

from anisomem.testbed import concepts, training
from anisomem.testbed.recipe import RECIPES

PICTURES, HELD_OUT, STEPS = 100_000, 5_000, 8_000


def main() -> None:
    """Draws, trains, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--icons", type=Path, required=True, help="folder with the three sets")
    parser.add_argument("--work", type=Path, required=True, help="where to work and to write")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw pictures")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    recipe = RECIPES[options.recipe]
    folder = training.shared(recipe, options.work)
    styles, rendered = recipe.concepts(options.icons), recipe.icons(options.icons)
    trained = training.train_autoencoder(recipe, options.icons, options.work, options.device)
    vae = training.polish_decoder(recipe, options.icons, options.work, trained, options.workers)

    def examples(count: int, seed: int) -> concepts.Examples:
        return concepts.examples(recipe, styles, rendered, vae, count, seed, options.workers)

    data, state = examples(PICTURES, seed=0), folder / "concepts.pt"
    model = concepts.train(data, len(styles), state, STEPS, device=options.device)
    recogniser = concepts.Recogniser(model, sorted(styles), {})
    held_out = examples(HELD_OUT, seed=1)
    measured = concepts.accuracy(recogniser, held_out)
    concepts.Recogniser(model, recogniser.names, measured).save(folder / "concepts")
    print(measured)


if __name__ == "__main__":
    main()
