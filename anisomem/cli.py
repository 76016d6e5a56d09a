"""The ``anisomem`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anisomem.arguments import parsed
from anisomem.console.progress import phase
from anisomem.console.terminal import guarded
from anisomem.errors import UserError, concerning, reported

if TYPE_CHECKING:
    from anisomem.benchmark.case import Case
    from anisomem.benchmark.results import Results
    from anisomem.config.schema import Config
    from anisomem.report.wandb_logger import WandbLogger

QUICKSTART = Path("runs/quickstart")  # where `anisomem run` without overrides leaves its stores


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand and returns the exit code.

    A mistake of the user's is one line and 2; prompts that the model failed on are 1; what
    nobody expected is one line, a traceback in a file, and 3.
    """
    return reported(partial(_obey, parsed(arguments)))


def _obey(options: argparse.Namespace) -> int:
    """Does what the command line says; the exit code."""
    # The libraries underneath announce optional packages and progress that are not ours.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with guarded():
        return _command(options)


def _command(options: argparse.Namespace) -> int:
    match options.command:
        case "run":
            return run(options.overrides)
        case "generate":
            _generate(options)
        case "mitigate":
            return _mitigate(options.overrides)
        case "sweep":
            return _sweep(options.name, options.overrides)
        case "geometry":
            _geometry(options.overrides)
        case "multirun":
            return _multirun(options.arguments)
        case "table":
            _table(options)
        case "scores":
            _scores(options)
        case "compare":
            _compare(options)
        case "import-released":
            return _import_released(options.folder, options.overrides)
        case "export-released":
            _export_released(options)
        case "fetch":
            _fetch(options.name, options.overrides, options.pictures)
        case "audit":
            _audit(options)
        case "bench":
            _bench(options)
        case "list":
            _list(options.what, options.long)
        case "new-detector":
            _new_detector(options.name, options.out)
        case "check-detector":
            return _check_detector(options.target, options.settings)
    return 0


def _list(what: str, long: bool) -> None:
    from anisomem.config import catalog, registry

    group = what.removesuffix("s")
    if long:
        if group != "detector":
            raise UserError(f"--long is of detectors, not of {what}")
        from anisomem.report.described import described

        print(described().markdown())
        return
    folder = catalog.folder() / group
    found = [(name, catalog.title(folder / f"{name}.yaml")) for name in catalog.names(group)]
    if group == "detector":
        found = registry.listed()
    for name, title in found:
        print(f"{name:{max(len(name) for name, _ in found)}}  {title}")


def _new_detector(name: str, out: Path) -> None:
    from anisomem.conformance.scaffold import write

    for line in write(name, out):
        print(line)


def _check_detector(target: str, settings: Sequence[str]) -> int:
    from anisomem.detection.configured import named

    detector = named(target, settings)
    from anisomem.conformance import check

    kept = True
    for finding in check(detector):
        print(finding, flush=True)
        kept &= finding.ok
    return 0 if kept else 1


def run(overrides: Sequence[str], apart: bool = False) -> int:
    """Runs the cases that the overrides choose, or continues them; the exit code.

    Arguments:
        overrides: As on the command line.
        apart: Every case has a report of its own in its folder, where no other process writes.
    """
    with phase("reading the configuration", brief=True):
        from anisomem.benchmark.case import Case, named_apart
        from anisomem.config import compose
        from anisomem.config.build import build
        from anisomem.run import prompts as labelled

        composed = labelled.judged(overrides)
    name = labelled.run_name(overrides, composed, QUICKSTART.name, "")
    compose.require_chosen(composed[0], "detector")
    if composed[0].dry_run:
        return _plan(composed, name)
    with phase("reading the prompts and what is recorded", brief=True):
        cases = named_apart(Case(one, name) for one in composed)
    settings = cases[0].config.logger
    logger = build(settings, "logger") if settings else None
    if apart:
        return max(_finish([case], case.folder, logger) for case in cases)
    return _finish(cases, cases[0].folder.parent, logger)


def _generate(options: argparse.Namespace) -> None:
    from anisomem.tradeoff.generate import generate

    given = (options.prompt, options.mitigate, options.fpr, options.overrides, options.out)
    print(generate(*given))


def _mitigate(overrides: Sequence[str]) -> int:
    from anisomem.tradeoff.command import mitigate

    return mitigate(overrides)


def _plan(configs: Sequence[Config], what: str) -> int:
    from anisomem.report.plan import plan

    print(plan(configs, what).markdown())
    return 0


def _finish(cases: Sequence[Case], folder: Path, logger: WandbLogger | None = None) -> int:
    """Records what is missing, writes and prints the table, and returns the exit code."""
    from anisomem.benchmark.complete import complete
    from anisomem.benchmark.results import Results
    from anisomem.report import report
    from anisomem.report.attempt import attempt
    from anisomem.storage.atomic import CannotWriteError

    recorded = []
    for case in cases:
        with concerning(str(case.folder)):
            recorded.append(complete(case))
    all_results = [Results(case) for case in cases]
    if _failed(all_results):
        return 1
    try:
        with phase("scoring and drawing"), concerning(str(folder)):
            drawn = report.write(all_results, folder)
    except CannotWriteError as error:
        print(report.printed(all_results))
        if any(recorded) or not error.forbidden:
            raise
        print(f"anisomem: the report is as it was: {error}", file=sys.stderr)
        return 0
    print(report.printed(all_results))
    _warn(all_results)
    if logger:
        attempt("the run on Weights & Biases", partial(logger.log, all_results, folder, drawn))
    print(f"Report: {folder}/ (tables, figures; components in a folder per model)")
    return 0


def _warn(cases: Sequence[Results]) -> None:
    """Says what a reader must know before the numbers."""
    from anisomem.report.warnings import warnings

    for line in warnings(cases):
        print(f"anisomem: warning: {line}", file=sys.stderr)


def _failed(cases: Sequence[Results]) -> bool:
    """Whether prompts of a case failed and the user did not allow it, which is said."""
    failed = [case for case in cases if case.ends_in_failure]
    for case in failed:
        first, reason = next(iter(case.failures.items()))
        print(
            f"anisomem: {case.name}: {len(case.failures)} of {len(case.case.prompts)} prompts "
            f"failed, first {first!r} ({reason}); on_failure=keep makes the table without them, "
            "on_failure=retry evaluates them again",
            file=sys.stderr,
        )
    return bool(failed)


def _sweep(name: str, overrides: Sequence[str]) -> int:
    with phase("reading the configuration", brief=True):
        from anisomem.sweep import command

        configs = command.composed(name, overrides)
    if configs[0].dry_run:
        return _plan(configs, f"the {name} sweep")
    cases = command.recorded(configs, command.parent(overrides, configs))
    if _failed(cases):
        return 1
    with phase("scoring and drawing"), concerning(f"the {name} sweep"):
        table, folder = command.report(name, cases)
    print(table)
    _warn(cases)
    print(f"Sweep: {folder}/ (tables, figures, data)")
    return 0


def _geometry(overrides: Sequence[str]) -> None:
    from anisomem.geometry.command import geometry

    print(geometry(overrides))


def _multirun(arguments: Sequence[str]) -> int:
    from anisomem.multirun import multirun

    return multirun(arguments)


def _table(options: argparse.Namespace) -> None:
    from anisomem.report import report

    cases = _finished(options.runs, options.allow)
    with phase("scoring and drawing"):
        if options.out:
            report.write(cases, options.out)
        text = report.printed(cases)
    print(text)
    _warn(cases)


def _compare(options: argparse.Namespace) -> None:
    from anisomem.config import registry
    from anisomem.report.compare import compare

    # A detector that the command names is one that it allows, as the user has configured it.
    named = {name.partition(",")[0] for name in options.detectors}
    named &= {one.name for one in registry.others()}
    cases = _finished(options.runs or [QUICKSTART], [*options.allow, *named])
    print(compare(cases, options.detectors, options.out))
    _warn(cases)


def _scores(options: argparse.Namespace) -> None:
    from anisomem.report.scores import Filter, scores

    chosen = Filter(options.prompt, options.label, options.top)
    cases = _finished([options.run], options.allow)
    print(scores(cases, options.detectors, chosen, options.out))


def _finished(runs: Sequence[Path], allowed: Sequence[str] = ()) -> list[Results]:
    """The cases of some runs, complete and with no failure that the user did not allow."""
    from anisomem.benchmark.results import Results

    all_results = [Results(case) for case in _stored(runs, allowed)]
    for results in all_results:
        results.case.require_complete()
        if results.ends_in_failure:
            raise UserError(f"{results.folder}: prompts failed; run it again with on_failure=keep")
    return all_results


def _stored(runs: Sequence[Path], allowed: Sequence[str] = ()) -> list[Case]:
    with phase("reading the runs", brief=True):
        from anisomem.benchmark.case import stored_cases

        return stored_cases([file for run in runs for file in _configurations(run)], allowed)


def _import_released(folder: Path, overrides: Sequence[str]) -> int:
    from anisomem.benchmark import released
    from anisomem.benchmark.case import named_apart

    cases = named_apart(released.load(folder, overrides, "released"))
    return _finish(cases, cases[0].folder.parent)


def _export_released(options: argparse.Namespace) -> None:
    from anisomem.benchmark import released
    from anisomem.benchmark.results import Results

    for path in released.save(
        [Results(c) for c in _stored(options.runs, options.allow)], options.out
    ):
        print(path)


def _fetch(name: str, overrides: Sequence[str], pictures: bool) -> None:
    from anisomem.config import compose
    from anisomem.datasets.fetch import fetch
    from anisomem.datasets.pictures import fetch_pictures

    data = compose.cases(overrides)[0].paths.data
    for line in fetch(name, data):
        print(line)
    for line in fetch_pictures(name, data) if pictures else ():
        print(line)


def _audit(options: argparse.Namespace) -> None:
    with phase("loading the libraries", brief=True):
        from anisomem.report.audit import audit

    print(audit(options.name, options.overrides, options.out))


def _bench(options: argparse.Namespace) -> None:
    from anisomem.bench.bench import Plan, bench

    plan = Plan(options.turns, options.growth)
    print(bench(options.overrides, plan, options.out))


def _configurations(run: Path) -> list[Path]:
    """The stored configurations of a case's folder, or of an experiment's with several."""
    found = sorted([*run.glob("config.yaml"), *run.glob("*/config.yaml")])
    if not found:
        raise UserError(
            f"no run at {str(run)!r} (expected a folder that anisomem run has written)"
        )
    return found
