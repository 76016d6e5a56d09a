"""From recording to verdicts, on a tiny pipeline with random weights."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from anisomem.cli.main import main
from anisomem.config import catalog, compose
from anisomem.detection.anisotropy import Anisotropy
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.geometry import analysis, claims
from anisomem.geometry.command import _of_prompts, _of_spectrum, directional, geometry
from anisomem.geometry.evaluate import complete
from anisomem.geometry.record import Extent, Recording
from anisomem.models.diffusers_unet import DiffusersUNet
from anisomem.report import escape
from anisomem.run import identity
from anisomem.run.devices import loaded
from anisomem.storage import digests
from tests.conftest import tiny_run

EXTENT = Extent(per_class=6, spectra=2, whole=1, probes=3, levels=(0, 47), whole_levels=(47,))


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def setting(save_pipeline, tmp_path_factory):
    folder, n = tmp_path_factory.mktemp("geometry"), 25
    columns = {
        "id": [f"p{i}" for i in range(n)],
        "prompt": [f"{'red cat' if i % 2 else 'dog'} {i}" for i in range(n)],
        "label": [*["not_memorized", "memorized"] * (n // 2), "partial"],
        "cluster": [i // 2 for i in range(n)],
        "block": ["made"] * n,
        "kind": ["ordinary"] * n,
    }
    pq.write_table(pa.table(columns), folder / "prompts.parquet")
    run = tiny_run(save_pipeline(), folder / "prompts.parquet")
    return [*run, "draws=200", "workers=1", f"runs={folder}"]


@pytest.fixture(scope="module")
def recording(setting):
    found = Recording(compose.cases(setting)[0], "quickstart", EXTENT)
    complete(found)
    return found


def test_two_processes_evaluate_the_same_to_the_bit(recording, setting, tmp_path):
    words = [*setting, "workers=2", f"runs={tmp_path}"]
    other = Recording(compose.cases(words)[0], "quickstart", EXTENT)
    complete(other)
    names = [name for name, _ in recording.tasks()]
    assert not other.missing() and names == [name for name, _ in other.tasks()]
    for name in names:
        one, two = recording.read(name), other.read(name)
        assert one.keys() == two.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], two[key])


def test_prompts_that_are_left_out_are_said(recording):
    counted, cautioned = _of_prompts([recording])
    assert "6 memorized prompts" in counted and "and 6 others" in counted
    assert cautioned == f"{recording.title}: 1 of 25 prompts left out, labelled partial."


def test_what_is_recorded_is_what_detectors_read(recording):
    """Norm and cosine by the engine, another implementation, on noise and along trajectories."""
    model = loaded(recording.config)
    for latents in ("noise", "guided", "unguided"):
        detector = Anisotropy("a", 1, norm_at="step:0", cos_at="step:-3", cos_latents=latents)
        paper = Anisotropy("p", 1, convention="paper", cos_at="step:-3", cos_latents=latents)
        rows = range(len(recording.prompts))
        engine = Engine(model, [detector, paper])
        expected = engine.evaluate(recording.prompts.texts, rows, recording.config.seeds[0])
        norm = recording.alignment("noise").norm[:, 0]
        np.testing.assert_allclose(norm, expected[detector.norm_name][:, 0], rtol=1e-4)
        by_position = recording.position_mean(latents)[:, -3]
        np.testing.assert_allclose(by_position, expected[detector.cos_name][:, 0], atol=1e-3)
        flattened = recording.alignment(latents, "score").cosine[:, -3]
        np.testing.assert_allclose(flattened, expected[paper.cos_name][:, 0], atol=1e-3)


def test_other_inputs_are_the_same_noise_scaled_and_noise_of_other_sizes(recording):
    scaled, sized = recording.inputs["scale"], recording.inputs["side"]
    low = recording.alignment("noise", "score")
    for name in ("uu", "cc", "uc", "xx", "xu", "xc"):
        own = getattr(low, name)[:, -3]
        np.testing.assert_allclose(getattr(scaled[1.0], name), own, rtol=1e-5)
    assert sized[recording.latent_side] is scaled[1.0]
    np.testing.assert_allclose(scaled[0.5].xx, 0.25 * scaled[1.0].xx, rtol=1e-5)

    model = loaded(recording.config)
    side = 2 * recording.latent_side
    assert sorted(sized) == [side // 4, side // 2, side, 2 * side]
    seed, t = recording.config.seeds[0], model.timesteps()[-3]
    x = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        u = model.predict(x, t, model.encode([""])).score.double()
        c = model.predict(x, t, model.encode([recording.prompts.texts[3]])).score.double()
    along = torch.cosine_similarity(-x.double().flatten(), (c - u).flatten(), dim=0)
    assert sized[side].along_input[3] == pytest.approx(float(along), abs=1e-5)
    assert sized[side].uc[3] == pytest.approx(float((u * c).sum()), rel=1e-5)


def test_a_step_at_which_no_cosine_is_defined_has_no_area(recording, monkeypatch):
    """As at the first step of flow matching, where every prompt's score is that of the noise."""
    name, whole = "cosine, scores", analysis.Analysis(recording).areas
    read = analysis.MEASURES[name]

    def undefined(of, on):
        values = read(of, on).copy()
        values[:, 0] = np.nan
        return values

    monkeypatch.setitem(analysis.MEASURES, name, undefined)
    found = analysis.Analysis(recording).areas
    for key, estimates in whole.items():
        known = slice(1 if key[0] == name else 0, None)
        assert found[key][known] == estimates[known]
        assert key[0] != name or np.isnan(found[key][0].value)

    def broken(of, on):
        values = read(of, on).copy()
        values[0, 0] = np.nan
        return values

    monkeypatch.setitem(analysis.MEASURES, name, broken)
    with pytest.raises(ValueError, match="1 NaN"):
        _ = analysis.Analysis(recording).areas


def test_spectra_whole_and_estimated(recording):
    found = dict(recording.spectra())
    assert len(found) == 5  # two prompts of each class, and none
    errors = np.concatenate([columns["error"] for columns in found.values()])
    assert (errors == 0).sum() == 2 * 3 + 1  # whole: one of each class in three cases, and none
    for columns in found.values():
        assert (columns["index"] < 1.1).all()  # an unbiased estimate may pass 1
    assert directional(256, EXTENT, [6, 6]) == 7 * (256 + 6) + 3 * 2 * 2 * 6


def test_of_an_estimated_spectrum_the_variance_alone_is_known():
    values = np.linspace(-1, 2, 40)
    numbers = {"index": values.var() / np.square(values).mean(), "symmetric": values @ values}
    whole = _of_spectrum(numbers, values, 40)
    assert whole["variance"] == pytest.approx(values.var(), rel=1e-12)
    assert whole["condition_number"] == pytest.approx(2 / np.abs(values).min())
    ends = _of_spectrum(numbers, values[[0, 1, -2, -1]], 40)
    assert ends["condition_number"] == "" and ends["variance"] == whole["variance"]


def test_finished_is_printed_and_loads_no_model(recording, setting, monkeypatch, capsys):
    monkeypatch.setattr("anisomem.geometry.dials.CONDITION_NUMBERS", (1.0, 1e4))
    monkeypatch.setattr("anisomem.geometry.dials.SHRINKAGES", (0.1,))
    first = geometry(setting, EXTENT)
    folder = recording.folder.parent
    drawn = {path.name for path in folder.glob("*.png")}
    assert {"theorem.png", "dials.png", "maps-prompts.png", "spectra-prompts.png"} <= drawn
    assert {p.stem for p in folder.glob("*.svg")} == {p.removesuffix(".png") for p in drawn}
    readme, page = ((folder / name).read_text() for name in ("README.md", "report.html"))
    assert all(f"]({name})" in readme for name in drawn) and "| claim " in readme
    assert page.count('<img src="data:image/png') == len(drawn)
    assert claims.SUPPORTED in first and claims.NOT_SUPPORTED in first
    assert all(escape.width(line) <= 100 for line in first.splitlines())
    for name in ("levels", "overlap", "spectra", "pairs", "sign"):
        head, line, *_ = (folder / f"{name}.csv").read_text().splitlines()
        assert head.startswith("model,prompts,") and line.startswith(f"{recording.model},prompts,")
    for name in ("dials", "theorem"):
        head, *lines = (folder / f"{name}.csv").read_text().splitlines()
        assert head.startswith("model,") and all(one.startswith("analytic,") for one in lines)
    monkeypatch.setattr("anisomem.geometry.evaluate.Evaluator", None)
    monkeypatch.setattr("anisomem.geometry.dials.grid", None)
    assert geometry(setting, EXTENT) == first
    (folder / "README.md").unlink()
    with pytest.raises(TypeError):  # what is missing is made anew
        geometry(setting, EXTENT)
    with pytest.raises(TypeError):  # other settings of the table make it anew
        geometry([*setting, "draws=300"], EXTENT)


def test_a_recording_of_an_earlier_version_is_carried_over(recording, setting, monkeypatch):
    content = identity.as_version_2(recording.content, recording.config.model["_target_"])
    assert content["version"] == 2
    before = recording.folder.with_name(f"prompts-{digests.digest(content)[:10]}")
    recording.folder.rename(before)
    assert recording.earlier_folder == before
    monkeypatch.setattr("anisomem.geometry.evaluate.Evaluator", None)
    monkeypatch.setattr("anisomem.geometry.command.report", lambda *_: "")
    assert geometry(setting, EXTENT) == ""
    assert recording.missing() == [] and recording.earlier_folder is None


def test_what_is_there_is_not_evaluated_again(recording, monkeypatch):
    missing = recording.tasks()[0][0]
    whole = recording.read(missing)["products"]
    recording.file(missing).unlink()
    assert recording.missing() == [recording.tasks()[0]]
    complete(recording)
    np.testing.assert_array_equal(recording.read(missing)["products"], whole)


def test_a_verdict_follows_the_interval():
    def verdict(low, high, region=(0.4, 0.6)):
        return claims.Claim("", "", "", "", region, (low + high) / 2, low, high).verdict

    assert verdict(0.45, 0.55) == claims.SUPPORTED
    assert verdict(0.1, 0.39) == verdict(0.61, 0.9) == claims.NOT_SUPPORTED
    assert verdict(0.3, 0.5) == verdict(0.3, 0.7) == claims.OPEN


def test_other_training_pictures_are_another_recording(setting, tmp_path):
    (given,) = (word for word in setting if word.startswith("dataset.path="))
    table = pq.read_table(given.removeprefix("dataset.path="))
    identities = set()
    for shade in (0, 0, 255):
        png = io.BytesIO()
        Image.fromarray(np.full((16, 16, 3), shade, np.uint8)).save(png, "PNG")
        pictures = [{"bytes": png.getvalue(), "path": None}] * len(table)
        pq.write_table(table.append_column("picture", pa.array(pictures)), tmp_path / "p.parquet")
        words = [*setting, f"dataset.path={tmp_path / 'p.parquet'}"]
        identities.add(Recording(compose.cases(words)[0], "quickstart", EXTENT).identity)
    assert len(identities) == 2


def test_random_weights_are_refused(setting, capsys):
    assert main(["geometry", *setting, "weights=random"]) == 2
    assert "bench; measurements need weights=pretrained" in capsys.readouterr().err


def test_dry_run_and_mistakes(setting, capsys):
    assert main(["geometry", *setting, "dry_run=true"]) == 0
    assert "12 / 12" in capsys.readouterr().out
    assert main(["geometry", "detector=[wen]"]) == 2
    assert "geometry measures no detectors" in capsys.readouterr().err


def test_latents_of_a_picture_decode_to_it():
    """The bundled autoencoder's own inverse: less than 4% of the range off on average."""
    model = DiffusersUNet.load(catalog.testbed("epsilon"))
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    pictures = model.decode(noise)
    again = model.decode(model.latents_of(pictures))
    assert np.abs(again.astype(float) - pictures).mean() < 10


def test_too_few_prompts_of_a_class_are_refused_before_anything_is_evaluated(setting, tmp_path):
    few = compose.cases([*setting, "limit=6", f"runs={tmp_path}"])[0]
    with pytest.raises(UserError, match="geometry needs 5 of each class within limit"):
        Recording(few, "geometry", EXTENT)
    assert not list(tmp_path.iterdir())
