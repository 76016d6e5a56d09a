"""``anisomem generate``: one prompt's picture before and after a mitigation, with its scores.

The pictures and their scores are made in :mod:`anisomem.tradeoff.one_prompt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from anisomem.cli.command import FILE, Checked, Command, Named, overrides
from anisomem.errors import UserError


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number such as 0.05, got {text!r}") from None


@click.command(
    "generate",
    cls=Command,
    short_help="Sample one prompt before and after a mitigation.",
    settings=["model", "seeds", "batch_size"],
    examples=[
        'anisomem generate "a red cat"',
        'anisomem generate "a red cat" --mitigate wen --fpr 0.05 --out cat.png',
        "anisomem generate \"a red cat\" --mitigate wen_sd14 model=sd14 'seeds=[7]'",
    ],
)
@click.argument("prompt", metavar="PROMPT", help="The prompt, quoted.")
@overrides("E.g. model=sd14 'seeds=[7]'; the first of the seeds is used.")
@click.option(
    "--mitigate",
    metavar="NAME",
    type=Named("mitigation"),
    help="As anisomem list mitigations names it (default: none).",
)
@click.option(
    "--fpr",
    type=Checked(_number),
    metavar="SHARE",
    help="Act only where the metric is above what this share of ordinary prompts exceed.",
)
@click.option(
    "--out",
    type=FILE,
    default="generated.png",
    show_default=True,
    metavar="FILE.png",
    help="The pictures.",
)
def command(
    prompt: str, overrides: Sequence[str], mitigate: str | None, fpr: float | None, out: Path
) -> None:
    """Sample a prompt, before and after a mitigation, with its scores.

    Both pictures start at the same noise and stand side by side in one file.
    """
    if fpr is not None and not mitigate:
        raise UserError("--fpr says when a mitigation acts; name one with --mitigate")
    if not prompt.strip():
        raise UserError("the prompt is empty")
    if words := [word for word in overrides if "=" not in word]:
        raise UserError(f'a prompt is one word to a shell; quote it: "{prompt} {" ".join(words)}"')
    if out.suffix != ".png":
        raise UserError(f"--out must name a .png file, got {str(out)!r}")
    from anisomem.config import compose
    from anisomem.datasets.files import require_text
    from anisomem.run.workers import one_thread
    from anisomem.storage import atomic
    from anisomem.tradeoff import one_prompt

    require_text("generate", "the prompt", prompt)

    names = dict.fromkeys(["none", *([mitigate] if mitigate else [])])
    composed = compose.cases([f"mitigation=[{','.join(names)}]", *overrides])[0]
    with one_thread():  # as runs compute
        outcomes = one_prompt.sample(prompt, composed, fpr)
    atomic.write(out, partial(one_prompt.draw_pictures, outcomes=outcomes))
    print(f"{one_prompt.table(outcomes).printed_turned()}\nPictures: {out}")
