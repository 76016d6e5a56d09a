r"""Trains small networks that differ in one factor each and follows the sign of the alignment.

What is trained says :mod:`anisomem.testbed.arms`, what is measured :mod:`anisomem.geometry.arms`;
the same command again goes on. Needs the extra "train" and, from npm, the icons that
docs/bundled-models.md names. An arm takes a quarter of an hour to one hour on one core.

    OMP_WAIT_POLICY=passive python scripts/sign_arms.py flat textured \
        --icons ICONS/node_modules/@iconify-json --work WORK --out results/geometry_testbed/arms

Where scripts/train_testbed.py has left weights of its large U-Net in WORK/snapshots, these are
followed, too.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from anisomem.config.catalog import testbed
from anisomem.geometry.arms import as_bundled, of_training, study
from anisomem.geometry.arms_report import report
from anisomem.testbed.arms import ARMS
from anisomem.testbed.diffusion import VARIANTS
from anisomem.testbed.recipe import RECIPES
from anisomem.testbed.training import encoded, train_autoencoder

FROM = "epsilon"  # the bundled model whose autoencoder and vocabulary all arms have
LARGE = "large"


def main() -> None:
    """Parses the command line, trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("arms", nargs="*", help=f"which: {', '.join(ARMS)}; all if not given")
    parser.add_argument("--icons", type=Path, required=True, help="folder with the three sets")
    parser.add_argument("--work", type=Path, required=True, help="keeps the trainings")
    parser.add_argument("--out", type=Path, required=True, help="recorded numbers, table, figure")
    options = parser.parse_args()
    if unknown := sorted(set(options.arms) - set(ARMS)):
        parser.error(f"unknown {', '.join(unknown)}; there are {', '.join(ARMS)}")
    torch.set_num_threads(1)
    vae = AutoencoderKL.from_pretrained(Path(testbed(FROM)) / "vae").eval()
    tokenizer = CLIPTokenizer.from_pretrained(Path(testbed(FROM)) / "tokenizer")
    for name in options.arms or ARMS:
        study(name, options.icons, vae, tokenizer, options.work, options.out)
    for name in VARIANTS:
        as_bundled(name, options.out)
    if (snapshots := options.work / "snapshots" / LARGE).exists():
        recipe = RECIPES[VARIANTS[LARGE].recipe]
        autoencoder = train_autoencoder(recipe, options.icons, options.work)
        data, words = encoded(recipe, options.icons, options.work, autoencoder)
        of_training(LARGE, data, words, snapshots, options.out)
    print(report(options.out))


if __name__ == "__main__":
    main()
