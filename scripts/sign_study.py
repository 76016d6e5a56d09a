"""Trains small variants of the bundled model and follows the sign of the alignment.

What is trained and measured says :mod:`anisomem.geometry.sign`; stopped at any moment, the same
command continues.

    OMP_WAIT_POLICY=passive python scripts/sign_study.py \
        --icons ICONS/node_modules/@iconify-json --work WORK --out results/geometry/sign
"""

import argparse
from pathlib import Path

import torch

from anisomem.geometry.sign import VARIANTS, study


def main() -> None:
    """Parses the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--icons", type=Path, required=True, help="folder with the three sets")
    parser.add_argument("--work", type=Path, required=True, help="latents and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="recorded numbers")
    parser.add_argument("--steps", type=int, default=1500, help="optimiser steps of each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.variants or VARIANTS:
        print(study(name, options.icons, options.work, options.out, options.steps))


if __name__ == "__main__":
    main()
