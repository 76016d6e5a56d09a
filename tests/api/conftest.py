"""A tiny pipeline, loaded as a notebook loads it, and a few labelled prompts."""

import numpy as np
import pandas as pd
import pytest

import anisomem
from anisomem.cli.main import main


@pytest.fixture(scope="session")
def frame():
    """Sixteen memorized and sixteen other prompts in pairs that share a cluster."""
    n = 32
    return pd.DataFrame(
        {
            "prompt": [f"{'red cat' if i % 4 < 2 else 'dog'} {i}" for i in range(n)],
            "label": [int(i % 4 < 2) for i in range(n)],
            "cluster": [i // 2 for i in range(n)],
        }
    )


@pytest.fixture(scope="session")
def folder(save_pipeline):
    return save_pipeline()


@pytest.fixture(scope="session")
def model(folder):
    return anisomem.load_model(folder, stands_for="sd14")


@pytest.fixture
def one_line():
    """Checks that a call is refused in one line, which is returned."""

    def refuse(call, *arguments, **more):
        with pytest.raises(anisomem.UserError) as refused:
            call(*arguments, **more)
        text = str(refused.value)
        assert text and "\n" not in text and len(text) < 1500
        return text

    return refuse


@pytest.fixture(scope="session")
def recorded(folder, frame, tmp_path_factory):
    """The folder of a finished ``anisomem run`` of two detectors, and its file of prompts."""
    place = tmp_path_factory.mktemp("recorded")
    frame.to_csv(place / "prompts.csv", index=False)
    words = [
        "experiment=quickstart",
        "model=diffusers_folder",
        f"model.path={folder}",
        "model.stands_for=sd14",
        "dataset=prompts_file",
        f"dataset.path={place / 'prompts.csv'}",
        "detector=[anisotropy,wen,text_only]",
        "detector.wen.n=[4]",
        "cases=[[]]",
        "draws=300",
        "gallery=0",
        "timing_repeats=0",
        "workers=1",
        f"runs={place / 'runs'}",
    ]
    assert main(["run", *words]) == 0
    return place


@pytest.fixture(scope="session")
def numbers():
    """Labels, two scores and clusters of a hundred prompts."""
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], 100)
    scores = {"mine": labels + rng.normal(size=200), "theirs": -labels + rng.normal(size=200)}
    return labels, scores, np.arange(200) // 2
