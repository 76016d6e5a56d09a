"""A finished scan of the tiny pipeline."""

import pytest

from anisomem.cli.main import main

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
