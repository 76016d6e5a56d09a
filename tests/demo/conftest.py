"""Demos that are ready: of the tiny pipeline, and of a bundled model."""

import pytest

from anisomem.demo.command import configured
from anisomem.demo.prepare import prepare

ORDINARY = [f"dog {'cat ' * (i % 3)}{i}" for i in range(40)]


def write_ordinary(folder):
    """A file of ordinary prompts."""
    file = folder / "ordinary.txt"
    file.write_text("".join(f"{text}\n" for text in ORDINARY))
    return file


@pytest.fixture(scope="session")
def tiny_words(save_pipeline, tmp_path_factory):
    """Overrides of a demo of the tiny pipeline, which has no prompts of its own."""
    return [
        "model=diffusers_folder",
        f"model.path={save_pipeline()}",
        "model.stands_for=sd14",
        f"calibration={write_ordinary(tmp_path_factory.mktemp('tiny'))}",
        "fpr_targets=[0.1,0.05]",
        "trial.steps=3",
        "seeds=[3]",
    ]


@pytest.fixture(scope="session")
def tiny(tiny_words):
    """The demo of the tiny pipeline; do not change it."""
    config, usual = configured(tiny_words)
    demo, left_out = prepare(config, usual)
    assert left_out == []
    return demo


@pytest.fixture(scope="session")
def bundled():
    """The demo of a bundled model; do not change it."""
    config, usual = configured([])
    demo, left_out = prepare(config, usual)
    assert left_out == []
    return demo
