"""``anisomem demo``: a page in the browser that asks a model about one prompt after another.

The answers and the page are :mod:`anisomem.demo`.
"""

from collections.abc import Sequence

import click

from anisomem.cli.command import Checked, Command, overrides
from anisomem.config import catalog


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise ValueError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)


@click.command(
    "demo",
    cls=Command,
    short_help="Ask a model about one prompt after another in a browser.",
    settings=[
        "model",
        "detector",
        "mitigation",
        "fpr_targets",
        "calibration",
        "pictures",
        "seeds",
        "trial.steps",
        "batch_size",
    ],
    usual={
        "detector": "[wen,anisotropy,noise_alignment]",
        "mitigation": "[anisotropy,wen,pad_mask]",
        "fpr_targets": "[0.01, 0.05, 0.1]",
    },
    examples=[
        "anisomem demo",
        "anisomem demo model=testbed_velocity 'mitigation=[wen]' --port 8000",
        "anisomem demo model=diffusers_folder model.path=FOLDER calibration=ordinary.txt",
    ],
)
@overrides(f"Settings of experiment={catalog.DEMO}.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="The address that it listens on; 0.0.0.0 lets others in.",
)
@click.option(
    "--port",
    type=Checked(_port),
    default="7860",
    show_default=True,
    metavar="NUMBER",
    help="The port.",
)
def command(overrides: Sequence[str], host: str, port: int) -> None:
    """Serve a page on which prompts are typed, until Ctrl-C.

    It shows a prompt's scores among those of ordinary prompts, a verdict at a false-positive rate,
    generated pictures beside the nearest known training pictures, and what a mitigation changes.
    """
    from anisomem.demo.command import demo

    demo(overrides, host, port)
