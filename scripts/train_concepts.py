r"""Trains the classifier of the bundled models' pictures.

    python scripts/train_concepts.py --icons ICONS/node_modules/@iconify-json --work WORK

Stopped at any moment, the same command continues. Writes WORK/concepts.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from anisomem.config import testbed
from anisomem.testbed import concepts, icons

PICTURES, HELD_OUT, STEPS = 100_000, 5_000, 8_000


def main() -> None:
    """Draws, trains, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--icons", type=Path, required=True, help="folder with the three sets")
    parser.add_argument("--work", type=Path, required=True, help="where to work and to write")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    options.work.mkdir(parents=True, exist_ok=True)
    styles, rendered = icons.concept_names(options.icons), icons.render(options.icons)
    vae = AutoencoderKL.from_pretrained(testbed("epsilon"), subfolder="vae").eval()
    data = concepts.examples(styles, rendered, vae, PICTURES, seed=0)
    model = concepts.train(data, len(styles), options.work / "concepts.pt", STEPS)
    found = concepts.Recogniser(model, sorted(styles), {})
    held_out = concepts.examples(styles, rendered, vae, HELD_OUT, seed=1)
    measured = concepts.accuracy(found, held_out)
    concepts.Recogniser(model, found.names, measured).save(options.work / "concepts")
    print(measured)


if __name__ == "__main__":
    main()
