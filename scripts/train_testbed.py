"""Trains variants of the bundled model; stopped at any moment, the same command continues.

The icon packages come from npm:

    npm install --prefix ICONS @iconify-json/noto@1.2.9 \
        @iconify-json/fluent-emoji-flat@1.2.6 @iconify-json/twemoji@1.2.5
    OMP_WAIT_POLICY=passive python scripts/train_testbed.py epsilon \
        --icons ICONS/node_modules/@iconify-json --work WORK

Several variants, as large and flow, train in turns.
"""

import argparse
from pathlib import Path

import torch

from anisomem.testbed.diffusion import VARIANTS
from anisomem.testbed.training import train


def main() -> None:
    """Parses the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="+", choices=VARIANTS)
    parser.add_argument("--icons", type=Path, required=True, help="folder with the three sets")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints and results")
    parser.add_argument("--steps", type=int, help="optimiser steps in all, of each variant")
    parser.add_argument("--turn", type=int, default=500, help="steps before another's turn")
    parser.add_argument("--threads", type=int, default=1, help="two commands run side by side")
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw pictures")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for folder in train(
        options.icons,
        options.work,
        options.variants,
        options.steps,
        options.turn,
        options.device,
        options.workers,
    ):
        print(folder)


if __name__ == "__main__":
    main()
