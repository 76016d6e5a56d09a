"""Kills a run again and again, with kill -9, and checks that nothing is lost or changed.

    python scripts/soak.py --kills 200

Runs ``anisomem run`` on the bundled model, with one process or two by chance, and kills it at
random moments, while a file is being written, or while the shards are merged. After every kill the
rows stored before must still be there; whenever a run comes to its end, its tables and components
must equal the uninterrupted run's bit for bit, and the next one starts from nothing.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from anisomem.storage.store import KEY, SECONDS, ScoreStore

MOMENTS = ("at random", "while writing", "while merging")
SMALL = ["detector=[anisotropy,wen]", "detector.anisotropy.n=[1]", "detector.wen.n=[1]"]
BUNDLED = ["model=testbed_epsilon", "dataset=testbed_epsilon", *SMALL]


def launch(overrides: Sequence[str], runs: Path, workers: int) -> subprocess.Popen:
    """The command as a user would type it, in a process of its own."""
    fixed = ["timing_repeats=0", "draws=200", f"runs={runs}", f"workers={workers}"]
    command = [sys.executable, "-m", "anisomem", "run", *overrides, *fixed]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(runs: Path) -> tuple[bytes, bytes, pd.DataFrame]:
    """What a finished run says: its tables, and its components without what they took."""
    folder = runs / "quickstart"
    tables = (folder / "table.csv").read_bytes(), (folder / "table.md").read_bytes()
    # The commit is left out, since a tree may be edited while this runs.
    return *tables, stored(runs).drop(columns=[SECONDS, "git_commit"])


def stored(runs: Path) -> pd.DataFrame:
    """All whole rows, a damaged shard being an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = [ScoreStore.stored(f.parent).read() for f in runs.glob("*/*/*/identity.json")]
    return pd.concat(frames) if frames else pd.DataFrame(columns=KEY)


def wait_until(
    moment: str, runs: Path, shards: int, limit: float, rng: np.random.Generator
) -> str:
    """Returns the moment that has come, "at random" where ``limit`` seconds did not bring it."""
    end = time.monotonic() + limit
    if moment == "at random":
        time.sleep(rng.uniform(0, limit))
        return moment
    skip = rng.integers(1, 40) if moment == "while writing" else 0
    seen: set[Path] = set()
    while time.monotonic() < end:
        if (
            moment == "while merging"
            and len([*runs.glob("*/*/components/[!.]*.parquet")]) >= shards
        ):
            time.sleep(rng.uniform(0, 0.03))
            return moment
        if moment == "while writing":
            seen |= {*runs.rglob(".partial-*")}
            if len(seen) >= skip:
                return moment
        time.sleep(0.0005)
    return "at random"


def soak(overrides: Sequence[str], kills: int, seed: int, folder: Path) -> dict[str, int]:
    """Kills that many times and returns what happened; raises at the first difference."""
    rng = np.random.default_rng(seed)
    begin = time.monotonic()
    whole = launch(overrides, folder / "whole", 1)
    _, complaint = whole.communicate()
    if whole.returncode:
        raise SystemExit(complaint)
    limit = time.monotonic() - begin
    expected = outcome(folder / "whole")
    shards = -(-expected[2]["prompt_id"].nunique() // 32)
    counts: Counter = Counter()
    runs, before = folder / "soaked", pd.DataFrame(columns=KEY)
    with tqdm(total=kills, desc="kills") as bar:
        while bar.n < kills:
            moment = MOMENTS[rng.integers(len(MOMENTS))]
            run = launch(overrides, runs, int(rng.integers(1, 3)))
            moment = wait_until(moment, runs, shards, limit, rng)
            if run.poll() is None:
                run.kill()
                counts[f"killed {moment}"] += 1
                bar.update()
            _, complaint = run.communicate()
            if run.returncode not in (0, -9):
                raise SystemExit(f"exit code {run.returncode}: {complaint}")
            counts["partial files left behind"] += len([*runs.rglob(".partial-*")])
            now = stored(runs)
            lost = len(
                before[KEY].merge(now[KEY], how="left", indicator=True).query("_merge != 'both'")
            )
            if lost or now.duplicated(KEY).any():
                raise SystemExit(f"{lost} rows lost, or some are there twice: {runs}")
            before = now
            if run.returncode == 0 or bar.n == kills:
                finish(overrides, runs, expected)
                counts["runs brought to an end, bit for bit equal"] += 1
                shutil.rmtree(runs)
                before = before.head(0)
    return dict(counts)


def finish(overrides: Sequence[str], runs: Path, expected: tuple) -> None:
    """Brings a run to its end and compares it with the uninterrupted one."""
    run = launch(overrides, runs, 1)
    _, complaint = run.communicate()
    if run.returncode:
        raise SystemExit(complaint)
    found = outcome(runs)
    if found[:2] != expected[:2]:
        raise SystemExit(f"the tables in {runs} differ from the uninterrupted run's")
    pd.testing.assert_frame_equal(found[2], expected[2], check_exact=True)


def main() -> None:
    """Soaks and prints what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = soak(BUNDLED, options.kills, options.seed, Path(folder))
    for what, count in sorted(counts.items()):
        print(f"{count:5} {what}")


if __name__ == "__main__":
    main()
