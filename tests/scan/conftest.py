"""Finished scans of the tiny pipeline."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from anisomem.cli.main import main
from anisomem.storage import atomic

PROMPTS = ["red cat 1", "dog 2", "", "red cat 1", "cat cat 3", "red 4"]
ORDINARY = [f"dog {i}" for i in range(40, 70)]


def arguments(model, folder, *more):
    """A scan of the tiny pipeline on a few prompts."""
    (folder / "mine.txt").write_text("".join(f"{text}\n" for text in PROMPTS))
    (folder / "ordinary.txt").write_text("".join(f"{text}\n" for text in ORDINARY))
    return [
        "scan",
        str(folder / "mine.txt"),
        "model=diffusers_folder",
        f"model.path={model}",
        f"calibration={folder / 'ordinary.txt'}",
        "workers=1",
        "fpr_targets=[0.1]",
        f"runs={folder / 'runs'}",
        *more,
    ]


def refused(capsys, *words):
    """The one line that a mistake is."""
    capsys.readouterr()
    assert main(list(words)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.fixture(scope="session")
def scanned(save_pipeline, tmp_path_factory):
    """The folder of a finished scan with a second stage and pictures; do not change it."""
    folder = tmp_path_factory.mktemp("scan")
    more = ("detector=[wen,noise_alignment,tiled_l2]", "scan.audit=12", "scan.share=0.3")
    words = arguments(save_pipeline(), folder, *more, "gallery=2", "fdr=0.9")
    assert main(words) == 0
    return folder, words


@pytest.fixture
def run_of(scanned):
    """The folder of its run."""
    (run,) = (scanned[0] / "runs" / "scan").iterdir()
    return run


def folder_of(place, generated, texts):
    """Training pictures of which one is a generated picture, with captions."""
    rng = np.random.default_rng(0)
    place.mkdir()
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (40, 30, 3), np.uint8)).save(place / f"{i}.png")
    Image.fromarray(generated[0, 1]).save(place / "copy.png")
    (place / "copy.txt").write_text(f" {texts[0].upper()}\n")
    (place / "broken.jpg").write_bytes(b"nothing")
    rows = [{"file_name": f"{i}.png", "text": f"a tree {i}"} for i in range(5)]
    (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return place


@pytest.fixture(scope="session")
def leaked(save_pipeline, tmp_path_factory):
    """The folder of a scan with training pictures, and its words; do not change it."""
    folder = tmp_path_factory.mktemp("leaks")
    words = arguments(save_pipeline(), folder, "gallery=2", "fdr=0.999", "detector=[wen]")
    assert main(words) == 0
    (run,) = (folder / "runs" / "scan").iterdir()
    generated = atomic.read_arrays(run / "pictures.npz")["pictures"]
    table = pq.read_table(run / "scan.parquet").to_pylist()
    first = sorted((r for r in table if r["flagged"]), key=lambda r: (r["p"], -r["wen, n=1"]))
    texts = list(dict.fromkeys(row["prompt"] for row in first))[:2]
    place = folder_of(folder / "training", generated, texts)
    words = [*words, f"pictures={place}"]
    assert main(words) == 0
    return run, words, generated, texts
