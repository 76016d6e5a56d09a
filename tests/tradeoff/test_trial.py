"""What is sampled, where it is kept, and what is done again."""

import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from anisomem.errors import UserError
from anisomem.measures.base import Generated
from anisomem.mitigation.base import Ordinary
from anisomem.mitigation.wen import WenDescent
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.run import devices
from anisomem.run.sharing import state_of_start
from anisomem.tradeoff.command import say_what_changed
from anisomem.tradeoff.measuring import measure, start
from anisomem.tradeoff.sampling import _sampler, sample
from anisomem.tradeoff.settings import Setting, expanded
from anisomem.tradeoff.trial import Trial


@pytest.fixture
def trial(compose):
    return Trial(compose(), "made")


@pytest.fixture
def model(trial):
    return DiffusersUNet.load(trial.config.model["path"], stands_for="sd14")


def test_settings_in_the_order_of_their_strength(compose):
    labels = [setting.label for setting in expanded(compose())]
    assert labels == [
        "none",
        "wen, steps 1",
        "wen, steps 3",
        "anisotropy_on_detection, fpr 0.05",
        "random_tokens, count 1",
        "random_tokens, count 2",
        "pad_replace",
    ]
    assert [s.build().steps for s in expanded(compose())[1:3]] == [1, 3]
    # A name is no setting: equal settings share their pictures.
    wen = expanded(compose())[2]
    assert Setting("mine", dict(wen.node)).key == wen.key != expanded(compose())[1].key


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+strengths.wne={steps: [1]}", "did you mean 'wen'?"),
        ("+strengths.pad_replace={stepz: [1]}", "no setting in strengths.pad_replace named"),
        ("strengths.wen.steps=[1,1]", "distinct values"),
        ("+strengths.wen.lr=[2.0]", "varies one setting, got steps, lr"),
        ("strengths.wen.steps=[0]", "steps must be an integer from 1, got 0"),
        ("trial.others=9", "trial.others is 9, and 'prompts' has 4 to choose from"),
        ("trial.memorized=4", "trial.memorized is 4, and 'prompts' has 3 to choose from"),
        ("measure=[]", "no measure chosen"),
        ("seeds=[3]", "diversity compares the pictures of a prompt; give at least 2 seeds"),
    ],
)
def test_mistakes_are_one_line(compose, override, message):
    with pytest.raises(UserError) as error:
        Trial(compose(override), "made")
    assert message in str(error.value)


def test_prompts_come_from_as_many_clusters_as_possible(compose):
    trial = Trial(compose(), "made")
    assert trial.prompts.ids[:3] != trial.whole.ids[:3]
    ids = np.array(trial.prompts.ids)[trial.prompts.labels == 1]
    assert ids.tolist() == ["p/2", "p/4", "p/6"]  # p/0 has no picture
    for seed in range(5):
        planned = Trial(compose(f"trial.seed={seed}"), "made").prompts
        others = planned.clusters[planned.labels == 0]
        assert len(set(others)) == 2
    without = Trial(compose("measure=[moved]"), "made")  # then all memorized ones will do
    assert (without.prompts.labels == 1).sum() == 4


def test_pictures_and_numbers_are_those_of_the_mitigation(trial, model):
    sample(trial, model, trial.missing())
    assert trial.missing() == []
    setting = trial.settings[2]
    for row, text in enumerate(trial.prompts.texts):
        x = torch.cat([model.initial_noise(seed, 1) for seed in trial.noise_seeds(row)])
        method = WenDescent("wen", steps=3)
        found = method(model, [text] * 2, x, trial.noise_seeds(row))
        expected = model.decode(found.sample(model, 2))
        away = np.abs(trial.pictures(setting, row).astype(int) - expected)
        assert away.max() <= 1  # batches differ in the last bit
    frame = trial.sampled.read().set_index(["prompt_id", "sample"])
    at = frame.loc[trial.key(setting, 0)]
    assert (at["nfe"] == 5).all() and (at["backward"] == 3).all() and (at["iterations"] == 3).all()
    plain = frame.loc[trial.key(trial.plain, 0)]
    assert (at["wen"] < plain["wen"]).all()
    assert (plain[["embeddings_moved", "noise_moved", "nfe"]] == 0).all(axis=None)
    assert (at["embeddings_moved"] > 0).all()


@pytest.mark.slow
def test_two_processes_sample_the_same_to_the_bit(compose, model, tmp_path):
    frames, pictures = [], []
    for workers in (1, 2):
        trial = Trial(compose(f"workers={workers}", f"runs={tmp_path / str(workers)}"), "made")
        sample(trial, model, trial.missing())
        frame = trial.sampled.read()
        frames.append(frame[[name for name in frame if not name.endswith("seconds")]])
        rows = range(len(trial.prompts))
        pictures.append(
            [trial.file(one, row).read_bytes() for one in trial.settings for row in rows]
        )
    assert len(pictures[0]) == 7 * 5 and pictures[0] == pictures[1]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_noise_of_a_prompt_is_its_own_or_shared(compose):
    own, shared = Trial(compose(), "a"), Trial(compose("noise_policy=shared"), "a")
    row = own.chosen[2]
    assert own.noise_seeds(2) == [3 + 2 * row, 4 + 2 * row] and shared.noise_seeds(2) == [3, 4]
    seeds = [s for i in range(5) for s in own.noise_seeds(i)] + own.ordinary_seeds()
    assert len(set(seeds)) == len(seeds) == 5 * 2 + 20
    assert shared.ordinary_seeds() == [3, 4] * 10
    assert own.identity != shared.identity


def test_noise_that_comes_from_rows_counts_where_it_is_a_prompts_own(compose, tmp_path):
    """The first prompt has no picture and is left out; behind the others it moves their rows."""
    file, table = tmp_path / "prompts.parquet", pq.read_table(tmp_path / "prompts.parquet")
    for policy in ("shared", "per_prompt"):
        trials = []
        for rows in (table, pa.concat_tables([table.slice(1), table.slice(0, 1)])):
            pq.write_table(rows, file)
            trials.append(Trial(compose(f"noise_policy={policy}", "trial.others=null"), "a"))
        one, other = trials
        assert one.prompts.ids == other.prompts.ids and len(one.prompts.ids) == 7
        same_noise = one.noise_seeds(0) == other.noise_seeds(0)
        assert same_noise == (policy == "shared") == (one.identity == other.identity)


def test_what_is_missing_is_sampled_again_and_nothing_else(trial, model, compose):
    tasks = trial.missing()
    assert sum(len(rows) for _, rows in tasks) == 7 * 5
    sample(trial, model, tasks[1:2])
    assert tasks[1] not in trial.missing() and len(trial.missing()) == len(tasks) - 1
    sample(trial, model, trial.missing())
    before = trial.sampled.read()
    lost = trial.settings[4]
    shutil.rmtree(trial.file(lost, 0).parent)
    again = trial.missing()
    assert {trial.settings[s] for s, _ in again} == {lost}
    sample(trial, model, again)
    columns = ["prompt_id", "sample", "wen", "metric_held_out", "latents"]
    pd.testing.assert_frame_equal(trial.sampled.read()[columns], before[columns])
    # Other ordinary prompts concern the threshold alone.
    others = Trial(compose("references.seed=1"), "made")
    assert {others.settings[s].name for s, _ in others.missing()} == {"anisotropy_on_detection"}
    assert Trial(compose("model.stands_for=sd20"), "made").identity != trial.identity
    # One more strength asks for itself alone.
    more = Trial(compose("strengths.wen.steps=[1,2,3]"), "made")
    assert {more.settings[s].label for s, _ in more.missing()} == {"wen, steps 2"}


def test_a_process_that_finds_another_mitigation_than_the_command_samples_nothing(trial):
    state, nothing = state_of_start(trial.config, trial.state), Ordinary((), ())
    for sources, refused in (({}, nullcontext()), ({"mine.Own": "abc"}, pytest.raises(UserError))):
        settings = [replace(setting, sources=sources) for setting in trial.settings]
        with refused:
            _sampler(trial.config, settings, nothing, state, None)


@pytest.mark.parametrize(
    ("word", "device"), [("devices=[cuda:1,cuda:0]", "cuda:1"), ("devices=[]", "auto")]
)
def test_measures_compute_where_the_command_does(compose, monkeypatch, word, device):
    monkeypatch.setattr(devices, "accelerators", lambda: ["cuda:0", "cuda:1"])
    started, trial = [], Trial(compose(word, "workers=null"), "made")
    for one in trial.measures:
        monkeypatch.setattr(type(one), "start", lambda *given: started.append(given[-1]))
    start(trial)
    assert started == [device] * len(trial.measures)


def test_strips_hold_the_pictures_in_the_order_of_the_seeds(trial):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
    trial.keep(trial.plain, 1, pictures)
    assert trial.file(trial.plain, 1).name == f"p%2F{trial.prompts.ids[1][2:]}.png"
    assert Image.open(trial.file(trial.plain, 1)).size == (16, 6)
    np.testing.assert_array_equal(trial.pictures(trial.plain, 1), pictures)


def test_measures_see_every_picture_once(trial, model, monkeypatch):
    sample(trial, model, trial.missing())
    pixel, moved, _ = trial.measures
    start(trial)
    monkeypatch.setattr(Trial, "failures", lambda self: {1: "latents is NaN"})
    measure(trial)
    assert len(trial.measured(moved).read()) == 7 * 4 * 2
    monkeypatch.undo()
    measure(trial)
    seen = []
    monkeypatch.setattr(type(moved), "__call__", lambda *a: seen.append(a))
    measure(trial)
    assert not seen
    frame = trial.measured(moved).read()
    plain = frame[frame["prompt_id"].str.startswith(trial.plain.key)]
    column = moved.statistics[0].column
    assert len(plain) == 5 * 2 and (plain[column] == 0).all()
    # Copying is measured on prompts with a training picture alone.
    assert trial.rows_of(pixel) == [i for i in range(5) if trial.prompts.labels[i]]
    frame = trial.measured(pixel).read()
    assert len(frame) == 7 * 3 * 2
    row = trial.rows_of(pixel)[0]
    pictures = trial.pictures(trial.plain, row)
    expected = pixel(Generated(trial.prompts.ids[row], "", pictures, pictures))
    stored = frame[frame["prompt_id"] == trial.key(trial.plain, row)]
    np.testing.assert_allclose(stored[pixel.statistics[0].column], expected["pixel_l2"])


def test_an_edited_measure_or_mitigation_of_ones_own_is_named(trial, monkeypatch, capsys):
    said = [
        {"mitigation mine": {"mine.Mine": "a"}, "measure pixel": {"own.Pixel": "b"}},
        {"mitigation mine": {"mine.Mine": "c"}, "measure pixel": {"own.Pixel": "b"}},
    ]
    for sources in (said[0], said[0], said[1], said[1]):
        monkeypatch.setattr(trial, "sources", lambda sources=sources: sources)
        say_what_changed(trial)
    assert capsys.readouterr().err == (
        f"anisomem: mine.Mine has changed since {trial.folder} was made; what mitigation mine "
        "gives is made anew\n"
    )
