"""``anisomem scan``: which of one's own prompts a model may have memorized.

Scores, p-values and the page are :mod:`anisomem.scan`.
"""

from collections.abc import Sequence

import click

from anisomem.cli.command import Command, overrides
from anisomem.config import catalog
from anisomem.console.progress import phase


@click.command(
    "scan",
    cls=Command,
    short_help="Find prompts without labels that stand out.",
    settings=[
        "experiment",
        "model",
        "prompts",
        "calibration",
        "detector",
        "fdr",
        "fpr_targets",
        "gallery",
        "pictures",
        "scan.share",
        "scan.audit",
        "limit",
        "engine",
        "dry_run",
        "runs",
    ],
    usual={"experiment": catalog.SCAN},
    examples=[
        "anisomem scan mine.txt",
        "anisomem scan captions.parquet model=diffusers_folder model.path=FOLDER "
        "calibration=ordinary.txt",
        "anisomem scan mine.csv 'detector=[wen,noise_alignment,tiled_l2]' gallery=20",
    ],
)
@overrides("The prompts, and settings; conf/config.yaml has all of them.", or_file=True)
def command(overrides: Sequence[str]) -> int:
    """Score prompts without labels and flag those that stand out from ordinary ones.

    Flags keep a stated rate of false discoveries. What is recorded is kept, so the same command
    again continues where it was interrupted, and prints at once where nothing is missing.
    """
    with phase("loading what scans", brief=True):
        from anisomem.scan.command import scan

    return scan(overrides)
