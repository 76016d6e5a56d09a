"""A tiny pipeline, a few prompts with training pictures, and a few mitigations."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from anisomem.config.compose import cases

TEXTS = ["red cat", "a dog", "red dog cat", "a red", "cat cat", "do re", "cat dog a", "dog red"]


def png(seed):
    """A picture of the pipeline's size."""
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


@pytest.fixture
def overrides(save_pipeline, tmp_path):
    """What a user gives ``anisomem mitigate``."""
    memorized = [i % 2 == 0 for i in range(8)]
    columns = {
        "id": [f"p/{i}" for i in range(8)],
        "prompt": TEXTS,
        "label": ["memorized" if yes else "not_memorized" for yes in memorized],
        "cluster": [i // 4 for i in range(8)],
        # One memorized prompt comes without its picture.
        "picture": [png(i) if yes and i else None for i, yes in enumerate(memorized)],
    }
    pq.write_table(pa.table(columns), tmp_path / "prompts.parquet")
    (tmp_path / "ordinary.txt").write_text("".join(f"cat {i}\n" for i in range(40)))
    return [
        "model=diffusers_folder",
        f"model.path={save_pipeline()}",
        "model.stands_for=sd14",
        "dataset=prompts_file",
        f"dataset.path={tmp_path / 'prompts.parquet'}",
        "mitigation=[none,wen,anisotropy_on_detection,random_tokens,pad_replace]",
        "measure=[pixel_l2,moved,diversity]",
        "strengths.wen.steps=[1,3]",
        "strengths.random_tokens.count=[1,2]",
        "strengths.anisotropy_on_detection.fpr=[0.05]",
        *(f"trial.{t}" for t in ("memorized=null", "others=2", "steps=2", "sheet=2")),
        f"references.prompts={tmp_path / 'ordinary.txt'}",
        "references.count=20",
        "seeds=[3,4]",
        "draws=200",
        "workers=1",
        f"runs={tmp_path / 'runs'}",
    ]


@pytest.fixture
def compose(overrides):
    """The configuration with some more overrides."""
    return lambda *more: cases(["experiment=mitigation_testbed", *overrides, *more])[0]
