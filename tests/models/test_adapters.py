"""What ``model.adapters`` may name; anything else is one line before a model is read."""

import os

import pytest
import torch
from safetensors.torch import save_file

from anisomem.models.adapters import parsed
from anisomem.models.families import load
from tests.models.folders import one_line

LORA = {"unet.a.lora_A.weight": torch.ones(2, 8), "unet.a.lora_B.weight": torch.ones(8, 2)}


@pytest.fixture
def file(tmp_path):
    save_file(LORA, tmp_path / "style.safetensors")
    return tmp_path / "style.safetensors"


@pytest.mark.parametrize(
    ("said", "weight"),
    [("", 1.0), (":0.8", 0.8), (": 1", 1.0), (":-2e-1", -0.2), (":0", 0.0), (":+3", 3.0)],
)
def test_a_weight_stands_behind_the_file(file, said, weight):
    (adapter,) = parsed([f"{file}{said}"])
    assert (adapter.file, adapter.weight) == (file, weight)


def test_a_colon_in_a_path_is_no_weight(tmp_path):
    folder = tmp_path / "run:3"
    folder.mkdir()
    save_file(LORA, folder / "a:1.safetensors")
    for said, weight in (("", 1.0), (":0.5", 0.5)):
        (adapter,) = parsed([f"{folder}/a:1.safetensors{said}"])
        assert (adapter.file.name, adapter.weight) == ("a:1.safetensors", weight)


def test_nothing_is_nothing():
    assert parsed(None) == parsed([]) == ()


@pytest.mark.parametrize("weight", ["abc", "nan", "inf", "-inf", "", "0.8.1", "1e999", "0,8"])
def test_a_weight_that_is_no_number_is_refused(file, weight):
    one_line(
        lambda: parsed([f"{file}:{weight}"]),
        "expected a finite number",
        f"'model.adapters=[{file}:0.8]'",
        repr(weight),
    )


@pytest.mark.parametrize(
    "given", ["a.safetensors", 3, {"a": 1}, [3], [None], [["a"]], [""], [":1"]]
)
def test_what_is_no_list_of_files_is_refused(given):
    one_line(lambda: parsed(given), "model.adapters", "[FILE.safetensors:0.8]")


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".ckpt", ".pth", ".pkl", ".PT"])
def test_a_pickle_is_refused_with_what_to_do(tmp_path, suffix):
    file = tmp_path / f"style{suffix}"
    file.write_bytes(b"\x80\x02cos\nsystem\n")
    for weight in ("", ":0.8"):
        one_line(
            lambda weight=weight: parsed([f"{file}{weight}"]),
            str(file),
            "may hold program code",
            "style.safetensors",
        )


def test_what_is_not_there_or_no_file_is_refused(tmp_path, file):
    one_line(lambda: parsed([str(tmp_path / "no.safetensors")]), "no.safetensors is not there")
    one_line(lambda: parsed(["OWNER/NAME:0.8"]), "OWNER/NAME is not there; expected a file")
    one_line(lambda: parsed([str(tmp_path)]), "is a folder", f"'model.adapters=[{file}]'")
    (tmp_path / "notes.txt").write_text("style")
    one_line(lambda: parsed([str(tmp_path / "notes.txt")]), "is no safetensors file")
    os.mkfifo(tmp_path / "pipe.safetensors")
    one_line(lambda: parsed([str(tmp_path / "pipe.safetensors")]), "pipe.safetensors")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "gone.safetensors")
    one_line(lambda: parsed([str(tmp_path / "link.safetensors")]), "broken link")


def test_the_same_file_twice_is_refused(file):
    (file.parent / "again.safetensors").symlink_to(file)
    for other in (file, file.parent / "again.safetensors"):
        one_line(lambda other=other: parsed([f"{file}:1", str(other)]), "twice")


@pytest.mark.parametrize("content", [b"", b"\x80\x02cos\nsystem\n", b"version https://git-lfs"])
def test_a_file_that_holds_something_else_is_refused_before_the_model(saved, tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    folder = saved("sd_v1")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    one_line(
        lambda: load(str(folder), device="cpu", adapters=[str(tmp_path / "a.safetensors")]),
        "a.safetensors",
    )


def test_an_architecture_alone_takes_none(file):
    settings = {"weights": "random", "adapters": [str(file)]}
    one_line(lambda: load("CompVis/stable-diffusion-v1-4", **settings), "leave out model.adapters")
