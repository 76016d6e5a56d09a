r"""Goes on training the bundled models and follows the sign of the alignment.

What is trained and measured says :mod:`anisomem.geometry.sign`; the same command again leaves
variants that are recorded alone. Needs the extra "train" and, from npm, the icons that
docs/bundled-models.md names.

    OMP_WAIT_POLICY=passive python scripts/sign_study.py \
        --icons ICONS/node_modules/@iconify-json --work WORK --out results/geometry_testbed/sign
"""

import argparse
from pathlib import Path

import torch

from anisomem.geometry.sign import VARIANTS, as_bundled, report, study


def main() -> None:
    """Parses the command line, trains and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--icons", type=Path, required=True, help="folder with the three sets")
    parser.add_argument("--work", type=Path, required=True, help="keeps the encoded corpus")
    parser.add_argument("--out", type=Path, required=True, help="recorded numbers, table, figure")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in VARIANTS:
        study(name, options.icons, options.work, options.out)
    for name in ("epsilon", "velocity"):
        as_bundled(name, options.icons, options.out)
    print(report(options.out))


if __name__ == "__main__":
    main()
