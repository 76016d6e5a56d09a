"""A scan that compares its model with what that was tuned from."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from anisomem.cli.main import main
from tests.scan.conftest import arguments, refused


def test_a_model_is_compared_with_what_it_was_tuned_from(save_pipeline, tmp_path, capsys):
    words = arguments(save_pipeline(), tmp_path, "detector=[earlier_checkpoint]")
    itself = f"baseline_model.path={save_pipeline()}"
    assert "is the model itself" in refused(capsys, *words, itself)
    assert main([*words, f"baseline_model.path={save_pipeline(seed=1)}"]) == 0
    assert "scored by earlier_checkpoint" in capsys.readouterr().out


def test_a_second_model_alone_is_subtracted(save_pipeline, tmp_path, capsys):
    words = arguments(save_pipeline(), tmp_path, f"baseline_model.path={save_pipeline(seed=1)}")
    assert main(words) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "scored by relative_wen, n=1, wen, n=1, noise_alignment, n=1" in out
    assert "by relative_wen, n=1" in out
    (file,) = (tmp_path / "runs" / "scan").glob("*/scan.parquet")
    both = pq.read_table(file)
    alone = tmp_path / "alone"
    alone.mkdir()
    assert main(arguments(save_pipeline(seed=1), alone)) == 0
    (file,) = (alone / "runs" / "scan").glob("*/scan.parquet")
    base = pq.read_table(file)
    expected = np.subtract(both["wen, n=1"], base["wen, n=1"])
    assert both["relative_wen, n=1"].to_numpy() == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_second_model_of_another_kind_is_one_line(save_pipeline, tmp_path, capsys):
    for other, said in (
        (save_pipeline(size=(16, 16)), "its latents are (4, 16, 16), and the model's (4, 8, 8)"),
        (save_pipeline(prediction_type="v_prediction"), "it predicts v_prediction"),
    ):
        words = arguments(save_pipeline(), tmp_path, f"baseline_model.path={other}")
        assert main(words) == 2
        *_, line = capsys.readouterr().err.strip().splitlines()
        assert said in line and "give an earlier checkpoint of it, or what it was tuned" in line
    base = arguments(save_pipeline(), tmp_path, f"base={other}")
    assert "did you mean 'baseline_model'?" in refused(capsys, *base)
