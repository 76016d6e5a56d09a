"""Ends a run again and again, roughly, and checks that nothing is lost or changed.

    python scripts/soak.py --kills 200

Runs ``anisomem run`` on the bundled model, with one process or two by chance. It is killed (by
``kill -9``, SIGTERM, Ctrl-C once or twice), finds no room to write, or a file that it has left is
damaged; at random moments, while a file is being written, or while the shards are merged. After
every end the rows stored before must still be there; whenever a run comes to its end, its tables
and components must equal the uninterrupted run's bit for bit, and the next one starts from
nothing.
"""

import argparse
import os
import re
import resource
import shutil
import signal
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
ENDS = ("kill -9", "kill -9", "SIGTERM", "Ctrl-C", "Ctrl-C twice", "full disk", "damage")
#: Exit codes of each; a run may also be done before, and Python may not be up yet at Ctrl-C.
CODES = {
    "kill -9": {0, -9},
    "SIGTERM": {0, 130, -15},
    "Ctrl-C": {0, 130, -2},
    "Ctrl-C twice": {0, 130, -2},
    "full disk": {0, 2},
}
DAMAGES = ("truncated", "flipped", "emptied", "broken link", "pipe", "folder")
TO_REMOVE = re.compile(r"(/.+?)(?: is damaged; remove it| is no file; remove it|: Is a directory)")
Outcome = tuple[bytes, bytes, pd.DataFrame]  # both tables, and the components
PATIENCE = 600  # seconds after which a run hangs
SMALL = ["detector=[anisotropy,wen]", "detector.anisotropy.n=[1]", "detector.wen.n=[1]"]
BUNDLED = ["experiment=quickstart", "model=testbed_epsilon", "dataset=testbed_epsilon", *SMALL]


def launch(
    overrides: Sequence[str], runs: Path, workers: int, room: int | None = None
) -> subprocess.Popen[str]:
    """The command as a user would type it, in a process group of its own.

    Arguments:
        overrides: The overrides of the run.
        runs: Where it writes.
        workers: The number of processes.
        room: Bytes of the largest file that it can write.
    """
    fixed = ["experiment=quickstart", "gallery=0", "timing_repeats=0", "draws=200"]
    fixed += [f"runs={runs}", f"workers={workers}"]
    command = [sys.executable, "-m", "anisomem", "run", *overrides, *fixed]

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job may ignore it
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=begin,
        # Python 3.11 keeps compiled modules of which only a part could be written.
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )


def ended(run: subprocess.Popen[str]) -> str:
    """What a run says until it ends; one that does not is an error."""
    try:
        return run.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise SystemExit(f"a run hangs: {run.communicate()[1]}") from None


def outcome(runs: Path) -> Outcome:
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


def strike(run: subprocess.Popen[str], how: str, rng: np.random.Generator) -> None:
    """Ends a run in one of :data:`ENDS`."""
    if how == "kill -9":
        run.kill()
    elif how == "SIGTERM":
        run.terminate()
    else:
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does it
        if how == "Ctrl-C twice":
            time.sleep(rng.uniform(0, 1))
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGINT)


def damage(runs: Path, rng: np.random.Generator) -> str:
    """Damages one of the files that a run has left, and says how."""
    files = sorted(file for file in runs.rglob("*") if file.is_file())
    if not files:
        return "nothing to damage"
    file, how = files[rng.integers(len(files))], DAMAGES[rng.integers(len(DAMAGES))]
    content = bytearray(file.read_bytes())
    file.unlink()
    match how:
        case "truncated":
            file.write_bytes(content[: len(content) // 2])
        case "flipped":
            content[len(content) // 2 :] = bytes(255 - b for b in content[len(content) // 2 :])
            file.write_bytes(content)
        case "emptied":
            file.touch()
        case "broken link":
            file.symlink_to("/nowhere")
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
    return f"damaged: {how} {file.suffix if file.stem.isalnum() else file.name}"


def soak(overrides: Sequence[str], kills: int, seed: int, folder: Path) -> dict[str, int]:
    """Ends runs that many times and returns what happened; raises at the first difference."""
    rng = np.random.default_rng(seed)
    begin = time.monotonic()
    whole = launch(overrides, folder / "whole", 1)
    complaint = ended(whole)
    if whole.returncode:
        raise SystemExit(complaint)
    limit = time.monotonic() - begin
    expected = outcome(folder / "whole")
    shards = -(-expected[2]["prompt_id"].nunique() // 32)
    counts: Counter[str] = Counter()
    runs, before = folder / "soaked", pd.DataFrame(columns=KEY)
    done = 0  # by us: a progress bar that is turned off counts nothing
    with tqdm(total=kills, desc="kills") as bar:
        while done < kills:
            moment = MOMENTS[rng.integers(len(MOMENTS))]
            how = ENDS[rng.integers(len(ENDS))]
            workers = int(rng.integers(1, 3))
            hurt = how == "damage"
            if hurt:
                how = "kill -9"
            room = int(rng.integers(500, 60_000)) if how == "full disk" else None
            run = launch(overrides, runs, workers, room)
            if room is None:
                moment = wait_until(moment, runs, shards, limit, rng)
                if run.poll() is None:
                    strike(run, how, rng)
                    counts[f"{how} {moment}"] += 1
                    done += 1
            complaint = ended(run)
            # Python itself dies of a Ctrl-C that comes before it has begun with the program.
            at_start = run.returncode == 1 and "init_import_site" in complaint
            early = how.startswith("Ctrl-C") and at_start
            if run.returncode not in CODES[how] and not early:
                raise SystemExit(f"{how}: exit code {run.returncode}: {complaint}")
            if run.returncode == 2:
                if "cannot write" not in complaint or "Traceback" in complaint:
                    raise SystemExit(f"{how}: {complaint}")
                counts["full disk"] += 1
                done += 1
            bar.update(done - bar.n)
            counts["partial files left behind"] += len([*runs.rglob(".partial-*")])
            now = stored(runs)
            lost = len(
                before[KEY].merge(now[KEY], how="left", indicator=True).query("_merge != 'both'")
            )
            if lost or now.duplicated(KEY).any():
                raise SystemExit(f"{lost} rows lost, or some are there twice: {runs}")
            before = now
            if hurt:
                counts[damage(runs, rng)] += 1
            if hurt or run.returncode == 0 or done == kills:
                finish(overrides, runs, expected)
                counts["runs brought to an end, bit for bit equal"] += 1
                shutil.rmtree(runs)
                before = before.head(0)
    return dict(counts)


def finish(
    overrides: Sequence[str], runs: Path, expected: tuple[bytes, bytes, pd.DataFrame]
) -> None:
    """Brings a run to its end, as its messages advise, and compares it with the uninterrupted."""
    for _ in range(4):
        run = launch(overrides, runs, 1)
        complaint = ended(run)
        if run.returncode == 0:
            break
        advised = TO_REMOVE.search(complaint.splitlines()[-1])
        if run.returncode != 2 or advised is None or "Traceback" in complaint:
            raise SystemExit(complaint)
        file = Path(advised[1])
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    outcome_now = outcome(runs)
    if outcome_now[:2] != expected[:2]:
        raise SystemExit(f"the tables in {runs} differ from the uninterrupted run's")
    pd.testing.assert_frame_equal(outcome_now[2], expected[2], check_exact=True)


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
