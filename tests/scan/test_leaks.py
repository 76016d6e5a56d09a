"""Training pictures beside what a scan generates: which is nearest, and which leak most."""

from hashlib import sha256

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from anisomem.cli.main import main
from anisomem.measures import pixels
from anisomem.storage import atomic
from tests.scan.conftest import arguments, refused


def test_the_nearest_are_those_of_all_distances(leaked):
    run, _, generated, texts = leaked
    rows = pq.read_table(run / "nearest.parquet").to_pylist()
    own = [row for row in rows if row["prompt"] == texts[0]]
    assert [row["rank"] for row in own] == [1, 2, 3, 4, 5, 6]
    assert own[0]["picture"] == "copy.png" and own[0]["generated"] == 2
    assert own[0]["pixel distance"] == pytest.approx(0, abs=1e-4)
    assert own[0]["own"] is True and own[0]["caption"] == texts[0].upper()
    assert own[1]["own"] is False and own[1]["caption"].startswith("a tree")
    for row in rows:
        other = np.asarray(Image.open(run.parents[2] / "training" / row["picture"]))
        away = [
            float(pixels.rms(pixels.fitted(one, 64, 64), pixels.fitted(other, 64, 64)))
            for one in generated[texts.index(row["prompt"])]
        ]
        assert row["pixel distance"] == pytest.approx(min(away), abs=1e-4)
        assert row["generated"] == 1 + int(np.argmin(away))


def test_all_pictures_are_sorted_by_how_near_they_are_and_none_is_dropped(leaked):
    run, _, generated, texts = leaked
    rows = pq.read_table(run / "leaks.parquet").to_pylist()
    assert sorted(row["picture"] for row in rows) == sorted(
        ["copy.png", "broken.jpg", *(f"{i}.png" for i in range(5))]
    )
    assert rows[0]["picture"] == "copy.png" and rows[0]["prompt"] == texts[0]
    assert rows[-1]["picture"] == "broken.jpg" and rows[-1]["pixel distance"] is None
    assert "Pillow cannot read as PNG, JPEG or WebP" in rows[-1]["failure"]
    near = [row["pixel distance"] for row in rows[:-1]]
    assert near == sorted(near)
    assert sum(row["times_nearest"] for row in rows) == generated.shape[0] * 3
    assert rows[-1]["times_nearest"] == 0 and rows[-1]["prompt"] is None
    (line,) = (run / "unread_pictures.txt").read_text().splitlines()
    assert line.startswith("broken.jpg: ")


def test_the_page_and_the_table_say_so(leaked, capsys):
    run, words, *_ = leaked
    before = (run / "nearest.npz").stat().st_mtime_ns
    assert main(words) == 0
    assert "training pictures" in capsys.readouterr().out
    out = " ".join((run / "scan.md").read_text().replace("|", " ").split())
    assert "training pictures 6" in out and "1 cannot be read, first broken.jpg" in out
    assert "pixel distance of copy.png to a picture of" in out
    assert (run / "nearest.npz").stat().st_mtime_ns == before  # nothing was compared again
    page = (run / "scan.html").read_text()
    assert page.count('class="strip four"') == 2 and "Training pictures that leak most" in page
    assert "rank of its own picture 1" in page and "broken.jpg" in page
    assert "none of the nearest 6 has this caption" in page


def test_another_folder_is_compared_anew_and_none_leaves_no_file(leaked, tmp_path, capsys):
    run, words, *_ = leaked
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (9, 9), (3, 2, 1)).save(other / "<b>.webp")
    try:
        assert main([*words[:-1], f"pictures={other}"]) == 0
        assert [r["picture"] for r in pq.read_table(run / "leaks.parquet").to_pylist()] == [
            "<b>.webp"
        ]
        assert "<b>.webp" not in (run / "scan.html").read_text()
        assert main(words[:-1]) == 0
        assert not (run / "leaks.parquet").exists() and not (run / "nearest.parquet").exists()
    finally:
        assert main(words) == 0
    assert (run / "leaks.parquet").exists()


def test_a_damaged_comparison_is_made_again(leaked):
    run, words, *_ = leaked
    stored = atomic.read_arrays(run / "nearest.npz")
    whole = (run / "leaks.parquet").read_bytes()
    for name, value in (
        ("of", stored["of"] + 100),
        ("places", stored["places"][:, :3]),
        ("closest", stored["closest"].astype("U9")),
        ("unread", np.array("[[1]]")),
    ):
        atomic.write_arrays(run / "nearest.npz", stored | {name: value})
        assert main(words) == 0
        assert (run / "leaks.parquet").read_bytes() == whole, name


def test_sscd_compares_where_its_weights_are_given(leaked, tmp_path, capsys):
    run, words, *_ = leaked

    class Colours(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)

    file = tmp_path / "colours.pt"
    torch.jit.script(Colours()).save(str(file))
    digest = sha256(file.read_bytes()).hexdigest()
    chosen = ["measure=[sscd]", f"measure.sscd.weights={file}"]
    try:
        assert main([*words, *chosen, f"measure.sscd.sha256={digest}"]) == 0
        rows = pq.read_table(run / "leaks.parquet").to_pylist()
        assert rows[0]["picture"] == "copy.png"
        assert rows[0]["SSCD similarity"] == pytest.approx(1, abs=1e-4)
        near = [row["SSCD similarity"] for row in rows[:-1]]
        assert near == sorted(near, reverse=True)
    finally:
        assert main(words) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["pictures=nowhere", "gallery=2"], "pictures=nowhere is not there; give a folder"),
        (["pictures=.", "gallery=0"], "gallery=0 makes none; give gallery=20"),
        (["measure=[ssim]"], "give pictures=FOLDER, or leave out measure="),
        (["pictures=.", "gallery=1", "measure=[ssim]"], "give 'measure=[training_rank]' or"),
        (["pictures=.", "gallery=1", "measure=[ssim,sscd]"], "by one measure, got ssim, sscd"),
        (["pictures=.", "gallery=1", "measure=[sscd]"], "needs a value for measure.sscd.sha256"),
        (["pictures=[a]", "gallery=1"], "pictures=[a] is not there"),
    ],
)
def test_mistakes_are_one_line(save_pipeline, tmp_path, capsys, more, said):
    assert said in refused(capsys, *arguments(save_pipeline(), tmp_path, *more))


def test_what_lacks_is_said_before_anything_is_recorded(save_pipeline, tmp_path, capsys):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "x.png").write_bytes(b"no picture")
    words = arguments(save_pipeline(), tmp_path, f"pictures={tmp_path / 'training'}", "gallery=1")
    absent = [f"measure.sscd.{one}" for one in ("weights=gone.pt", f"sha256={'0' * 64}")]
    for more, said in (
        ([], "none of the 1 files in pictures="),
        (["measure=[sscd]", *absent], "cannot read the weights gone.pt"),
    ):
        assert main([*words, *more]) == 2
        *_, line = capsys.readouterr().err.strip().splitlines()
        assert said in line
    assert not list(tmp_path.glob("runs/scan/*/components/*.parquet"))


def test_without_a_flag_nothing_is_compared(save_pipeline, tmp_path, capsys):
    place = tmp_path / "training"
    place.mkdir()
    Image.new("RGB", (9, 9)).save(place / "x.png")
    more = (f"pictures={place}", "gallery=2", "fdr=0.5", "detector=[wen]")
    words = arguments(save_pipeline(), tmp_path, *more)
    assert main(words) == 0
    out = capsys.readouterr().out
    (run,) = (tmp_path / "runs" / "scan").iterdir()
    if "no prompt is flagged" in " ".join(out.split()):
        assert not (run / "leaks.parquet").exists()
    else:
        pytest.fail(out)
