"""What the command line of ``anisomem`` may say."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The subcommand with its arguments; argparse ends the process where they make no sense."""
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    takes = options.command in ("generate", "fetch")
    if takes and not any(word.startswith("-") for word in more):
        options.overrides += more  # those that stand behind an option
    elif more:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    return options


def _allow(reading: argparse.ArgumentParser) -> None:
    reading.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="a detector of your own, or a class, that a stored run may name: mine, mine.Mine",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "anisomem", description="A benchmark for memorization detectors of diffusion models."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser(
        "run", help="run an experiment, or continue it, and print its table"
    )
    running.add_argument(
        "overrides", nargs="*", metavar="name=value", help="e.g. experiment=quickstart"
    )
    generating = commands.add_parser(
        "generate", help="sample a prompt, before and after a mitigation, with its scores"
    )
    generating.add_argument("prompt", metavar="PROMPT")
    generating.add_argument(
        "overrides", nargs="*", metavar="name=value", help="e.g. model=sd14 seeds=[7]"
    )
    generating.add_argument(
        "--mitigate", metavar="NAME", help="as anisomem list mitigations names it"
    )
    generating.add_argument(
        "--fpr",
        type=float,
        metavar="SHARE",
        help="act only where the metric is above what this share of ordinary prompts exceed",
    )
    generating.add_argument(
        "--out", type=Path, default=Path("generated.png"), metavar="FILE.png", help="the pictures"
    )
    mitigating = commands.add_parser(
        "mitigate", help="sample prompts with every mitigation and measure what it costs"
    )
    mitigating.add_argument(
        "overrides", nargs="*", metavar="name=value", help="e.g. experiment=mitigation_testbed"
    )
    table = commands.add_parser("table", help="print the table of finished runs from their stores")
    table.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="e.g. runs/quickstart")
    table.add_argument(
        "--out", type=Path, metavar="FOLDER", help="also write tables, figures and report there"
    )
    scoring = commands.add_parser(
        "scores", help="print what every prompt of a finished run scored"
    )
    scoring.add_argument("run", type=Path, metavar="RUN", help="e.g. runs/quickstart")
    scoring.add_argument(
        "detectors",
        nargs="*",
        metavar="DETECTOR",
        help="a name, at its largest n, or a row: wen,n=1 (default: the metric, in files all)",
    )
    scoring.add_argument(
        "--top", type=_positive, metavar="N", help="the largest scores of the first detector"
    )
    scoring.add_argument("--prompt", metavar="TEXT", help="prompts that contain it, or of this id")
    scoring.add_argument("--label", choices=("memorized", "other"), help="of one class alone")
    scoring.add_argument(
        "--out", type=Path, metavar="FILE", help="write them, as FILE.csv or FILE.parquet"
    )
    comparing = commands.add_parser(
        "compare",
        help="compare detectors of finished runs pair by pair, on parts of the prompts too",
    )
    comparing.add_argument(
        "detectors",
        nargs="+",
        metavar="DETECTOR",
        help="a name, at its largest n, or a row: wen,n=1",
    )
    comparing.add_argument(
        "--in",
        action="append",
        type=Path,
        dest="runs",
        metavar="RUN",
        help="a finished run (default runs/quickstart); may be given several times",
    )
    comparing.add_argument(
        "--out", type=Path, metavar="FOLDER", help="also write tables and a figure there"
    )
    for reading in (table, scoring, comparing):
        _allow(reading)
    importing = commands.add_parser(
        "import-released", help="score tensors of the anisotropy paper's code: store and table"
    )
    importing.add_argument("folder", type=Path, metavar="FOLDER", help="e.g. det_outputs")
    importing.add_argument(
        "overrides", nargs="*", metavar="name=value", help="e.g. runs=FOLDER, or dataset=NAME"
    )
    exporting = commands.add_parser(
        "export-released", help="write recorded scores as the anisotropy paper's code does"
    )
    exporting.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    exporting.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    _allow(exporting)
    listing = commands.add_parser("list", help="name what can be run")
    listing.add_argument(
        "what",
        choices=("detectors", "mitigations", "measures", "models", "datasets", "experiments"),
    )
    listing.add_argument(
        "--long", action="store_true", help="of detectors: sources, needs and costs, in Markdown"
    )
    starting = commands.add_parser("new-detector", help="start a detector of your own")
    starting.add_argument("name", metavar="NAME", help="e.g. mine; see docs/add-a-detector.md")
    starting.add_argument(
        "--out", type=Path, default=Path(), metavar="FOLDER", help="where (default: here)"
    )
    checking = commands.add_parser("check-detector", help="check what every detector has to keep")
    checking.add_argument("target", metavar="TARGET", help="e.g. wen, or a class: mine.Mine")
    checking.add_argument("settings", nargs="*", metavar="name=value", help="e.g. steps=5")
    fetch = commands.add_parser("fetch", help="download a published prompt set and verify it")
    fetch.add_argument("name", metavar="NAME", help="a published set, or all")
    fetch.add_argument("overrides", nargs="*", metavar="name=value", help="e.g. paths.data=FOLDER")
    fetch.add_argument(
        "--pictures", action="store_true", help="also the training pictures that it names"
    )
    audit = commands.add_parser("audit", help="what is wrong with a prompt set, in tables")
    audit.add_argument("name", metavar="NAME", help="as anisomem list datasets names it, or all")
    audit.add_argument(
        "overrides", nargs="*", metavar="name=value", help="e.g. dataset.variant=head"
    )
    audit.add_argument("--out", type=Path, metavar="FILE", help="keep the tables as Markdown")
    bench = commands.add_parser("bench", help="measure on this machine what things cost")
    bench.add_argument(
        "overrides", nargs="*", metavar="name=value", help="e.g. model=sd14 weights=random"
    )
    bench.add_argument(
        "--turns",
        type=_positive,
        metavar="N",
        help="of every measurement (default 5; 1 with weights=random on a CPU)",
    )
    bench.add_argument(
        "--growth",
        type=_sizes,
        metavar="N,N",
        help="numbers of prompts (default 100,1000,10000; with weights=random 1,10, on a CPU 1)",
    )
    bench.add_argument("--out", type=Path, metavar="FILE", help="keep it as FILE.md and FILE.json")
    sweep = commands.add_parser(
        "sweep", help="record what the values of a setting need once, and score them all"
    )
    sweep.add_argument("name", metavar="SWEEP", help="e.g. gamma; see docs/sweeps.md")
    sweep.add_argument("overrides", nargs="*", metavar="name=value", help="as of run")
    geometry = commands.add_parser(
        "geometry", help="measure the claims about the log-probability's geometry, with verdicts"
    )
    geometry.add_argument(
        "overrides", nargs="*", metavar="name=value", help="e.g. experiment=geometry_testbed"
    )
    multirun = commands.add_parser(
        "multirun", help="run every combination of several values, by Hydra's multirun"
    )
    multirun.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="name=value,value",
        help="e.g. model=testbed_epsilon,testbed_velocity hydra/launcher=joblib",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if not all(size.isdecimal() and int(size) >= 1 for size in sizes):
        raise argparse.ArgumentTypeError(f"expected positive integers like 1,10, got {text!r}")
    return tuple(map(int, sizes))
