"""What a scan of many captions takes: seconds and memory by phase, on a model of closed form.

``python scripts/scan_scale.py [--captions 1000000] [--work FOLDER]``

The model takes next to no time, so what is measured is reading, storing, ranking and writing.
Stopped at any moment, the same command with the same folder continues.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from zlib import crc32

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from anisomem.config import compose
from anisomem.models.analytic import AnalyticMixture, ComponentConditioning
from anisomem.run import sharing
from anisomem.scan import written
from anisomem.scan.complete import complete
from anisomem.scan.scan import Scan
from anisomem.scan.tables import printed

WORDS = 5_000  # that captions are made of
COMPONENTS = 64
GROUP = 100_000


class Closed(AnalyticMixture):
    """A mixture whose prompts each name one of its components, by a checksum."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        means = 3 * torch.randn(COMPONENTS, 1, 4, 4, generator=generator)
        super().__init__(means, [1.0] * COMPONENTS, ["a"] * COMPONENTS)

    def encode(self, prompts: Sequence[str]) -> ComponentConditioning:
        rows = [crc32(text.encode()) % COMPONENTS if text else -1 for text in prompts]
        return ComponentConditioning(component=torch.tensor(rows))


def write_captions(file: Path, count: int) -> None:
    """Random captions of six words, one in twenty twice."""
    rng = np.random.default_rng(0)
    schema = pa.schema({"id": pa.string(), "caption": pa.string()})
    with pq.ParquetWriter(file, schema) as writer:
        for begin in range(0, count, GROUP):
            size = min(GROUP, count - begin)
            some = rng.integers(0, WORDS, (size, 6))
            again = rng.random(size) < 0.05
            some[again] = some[rng.integers(0, size, again.sum())]
            texts = [" ".join(f"w{_letters(word)}" for word in row) for row in some.tolist()]
            ids = [f"c{begin + i}" for i in range(size)]
            writer.write_table(pa.table({"id": ids, "caption": texts}, schema))


def _letters(number: int) -> str:
    """A number as letters, since digits are no part of a word."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def main() -> None:
    """Scans and prints what every phase took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captions", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, help="kept; else a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anisomem-scan-") as name:
        _measure(options.work or Path(name), options.captions)


def _measure(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"captions-{count}.parquet"
    if not file.exists():
        write_captions(file, count)
    sharing.loaded = lambda config: Closed()  # no folder holds such a model
    words = [f"prompts={file}", "workers=1", f"runs={folder / 'runs'}", "experiment=scan"]
    print("| phase | seconds | memory at its end, MB |\n|---|---|---|")
    with _phase("nothing yet"):
        config = compose.cases(words)[0]
    with _phase("reading"):
        scan = Scan(config, "scan")
    with _phase("recording and ranking"):
        found = complete(scan)
        found.q  # noqa: B018
    with _phase("near-duplicates, writing"):
        written.write(found)
    print(f"\n{count:,} captions, peak {_peak():,} MB\n\n{printed(found)}")


def _peak() -> int:
    """The largest memory of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


@contextmanager
def _phase(title: str) -> Iterator[None]:
    begin = perf_counter()
    yield
    memory = psutil.Process().memory_info().rss // 2**20
    print(f"| {title} | {perf_counter() - begin:.1f} | {memory:,} |", flush=True)


if __name__ == "__main__":
    main()
