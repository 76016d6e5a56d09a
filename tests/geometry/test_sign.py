"""Training on repeated captions, without the icons: pictures are any latents."""

import numpy as np
import pandas as pd
import pytest
import torch

from anisomem.config import catalog
from anisomem.geometry import sign
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.testbed.latents import Latents

pytestmark = pytest.mark.slow


def test_repeated_captions_are_learned_and_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(sign, "CHECKPOINTS", (0, 30))
    model = DiffusersUNet.load(catalog.testbed("epsilon"))
    draw = torch.Generator().manual_seed(0)
    latents = torch.randn(16, 4, 8, 8, generator=draw)
    texts = [f"a picture of thing {i}" for i in range(16)]
    given = sign.ChosenCaptions(texts, latents, np.arange(16) < 2)
    mean = torch.randn(32, 4, 8, 8, generator=draw)
    tokens = model.tokens(model.readers[0], [f"a thing {i}" for i in range(32)]).input_ids
    corpus = Latents(mean, torch.full_like(mean, 0.1), tokens, np.stack([np.arange(32)] * 2, 1))

    recorded = []
    for step in sign.train(model, sign.Continuation("epsilon"), corpus, given):
        if step in sign.CHECKPOINTS:
            found = sign.checkpoint(model, given)
            recorded.append(found.assign(variant="made", step=step, repetitions=step * 8))
    assert [frame["step"].iloc[0] for frame in recorded] == [0, 30]

    def collapse(frame, repeated):
        rows = frame[(frame["t"] == 981) & (frame["latents"] == "noise")]
        rows = rows[rows["repeated"] == repeated]
        return 1 - rows["picture_c"].sum() / rows["picture_u"].sum()

    gained = [collapse(recorded[1], k) - collapse(recorded[0], k) for k in (1, 0)]
    assert gained[0] > 0.01 and gained[0] > gained[1]

    pd.concat(recorded).to_csv(tmp_path / "made.csv", index=False)
    table = sign.report(tmp_path)
    assert len([line for line in table.splitlines() if line.startswith("| made")]) == 2
    assert (tmp_path / "sign.svg").exists() and (tmp_path / "sign.md").read_text() == table


def test_a_bundled_model_is_measured_anew_where_its_weights_are_others(tmp_path, monkeypatch):
    latents = torch.zeros(1, 4, 8, 8)
    controls = sign.ChosenCaptions(["a thing"], latents, np.zeros(1, bool))
    monkeypatch.setattr(sign, "choose_captions", lambda *_: controls)
    measured = []

    def checkpoint(model, given):
        measured.append(len(given.texts))
        return pd.DataFrame({"t": [41]})

    monkeypatch.setattr(sign, "checkpoint", checkpoint)
    file = sign.as_bundled("epsilon", tmp_path, tmp_path)
    groups = len(measured)
    assert groups == len(sign.GROUPS) - 1 and min(measured) > 1
    assert sign.as_bundled("epsilon", tmp_path, tmp_path) == file and len(measured) == groups
    monkeypatch.setattr(sign, "made_by", lambda folder: "others")
    sign.as_bundled("epsilon", tmp_path, tmp_path)
    assert len(measured) == 2 * groups and set(pd.read_csv(file)["weights"]) == {"others"}
