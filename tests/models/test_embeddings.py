"""A learned word reaches the network as diffusers' own pipeline reads it, or one line."""

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file

from anisomem.models.families import load
from tests.models.conftest import WIDTH
from tests.models.folders import one_line

ONE, THREE = torch.arange(1.0, 9) / 4, torch.randn(3, WIDTH, generator=torch.manual_seed(0))


def kept(file, **held):
    save_file({name: weight.contiguous() for name, weight in held.items()}, file)
    return file


def with_words(folder, *files, **settings):
    return load(str(folder), device="cpu", adapters=[str(file) for file in files], **settings)


@pytest.mark.parametrize("vectors", [ONE, ONE[None], THREE], ids=["vector", "one", "three"])
def test_a_word_is_encoded_as_by_diffusers_own_pipeline(originals, tmp_path, vectors):
    file = kept(tmp_path / "toy.safetensors", **{"<toy>": vectors})
    theirs = StableDiffusionPipeline.from_pretrained(originals("sd_v1"))
    theirs.load_textual_inversion(str(tmp_path), weight_name=file.name)
    model = with_words(originals("sd_v1"), file)
    prompts = ["a <toy> dog", "a dog", "<toy>, <toy>", ""]
    expected = theirs.encode_prompt(prompts, "cpu", 1, False)[0]
    torch.testing.assert_close(model.encode(prompts).embeddings, expected)
    plain = load(str(originals("sd_v1")), device="cpu")
    unchanged = plain.encode(prompts).embeddings
    torch.testing.assert_close(model.encode(prompts).embeddings[[1, 3]], unchanged[[1, 3]])
    assert (model.encode(prompts).embeddings[0] - unchanged[0]).abs().max() > 1e-2
    words = ["<toy>", "<toy>_1", "<toy>_2"][: len(vectors) if vectors.ndim > 1 else 1]
    (said,) = model.adapters
    assert (said["kind"], said["word"], said["tokens"]) == ("embedding", "<toy>", words)
    assert model._ordinary == plain._ordinary  # nobody draws it as a random word


def test_every_vector_takes_a_token_of_the_prompt(originals, tmp_path):
    file = kept(tmp_path / "toy.safetensors", **{"<toy>": THREE})
    model = with_words(originals("sd_v1"), file)
    assert model.truncated(["a <toy> <toy>", "a <toy> <toy> <toy>"]) == 1  # 9 and 12 of 10
    assert model.encode(["a <toy>"]).end.tolist() == [5]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_word_of_both_text_encoders_has_the_files_name(originals, tmp_path, dtype):
    two = {"clip_l": THREE, "clip_g": THREE.flip(0)}
    file = kept(tmp_path / "my-toy.safetensors", **two)
    theirs = StableDiffusionXLPipeline.from_pretrained(originals("sdxl"))
    for i, name in (("", "clip_l"), ("_2", "clip_g")):
        parts = {part: getattr(theirs, f"{part}{i}") for part in ("tokenizer", "text_encoder")}
        theirs.load_textual_inversion({"my-toy": two[name]}, **parts)
    model = with_words(originals("sdxl"), file, dtype=dtype)
    embeddings, _, pooled, _ = theirs.encode_prompt("a my-toy dog", device="cpu")
    found = model.encode(["a my-toy dog"])
    close = {"atol": 1e-5, "rtol": 1e-5} if dtype == "float32" else {"atol": 2e-2, "rtol": 2e-2}
    torch.testing.assert_close(found.embeddings.float(), embeddings, **close)
    torch.testing.assert_close(found.pooled.float(), pooled, **close)


def test_a_file_that_names_no_word_is_called_by_its_own_name(originals, tmp_path):
    file = kept(tmp_path / "style.safetensors", emb_params=THREE)
    model = with_words(originals("sd_v1"), file)
    assert model.adapters[0]["tokens"] == ["style", "style_1", "style_2"]


REFUSED = {
    "another width": ("sd_v1", {"<toy>": torch.ones(2, 9)}, "vectors of 9 numbers", "reads 8"),
    "no numbers": ("sd_v1", {"<toy>": torch.full((8,), torch.nan)}, "NaN or infinite"),
    "too many": ("sd_v1", {"<toy>": torch.ones(9, 8)}, "has 9 vectors, and a prompt takes 1 to 8"),
    "none": ("sd_v1", {"<toy>": torch.ones(0, 8)}, "has 0 vectors"),
    "a word that is known": ("sd_v1", {"cat</w>": ONE}, "knows the word 'cat</w>' already"),
    "two words": ("sd_v1", {"a toy": ONE}, "names its word 'a toy'", "without spaces"),
    "no word": ("sd_v1", {"": ONE}, "names its word ''"),
    "one encoder's for two": ("sdxl", {"<toy>": ONE}, "expected clip_g and clip_l"),
    "two encoders' for one": ("sd_v1", {"clip_l": ONE, "clip_g": ONE + 1}, "expected one tensor"),
    "a family without": ("sd3_without_t5", {"<toy>": ONE}, "takes no learned embeddings"),
    "a picture": ("sd_v1", {"x": torch.ones(2, 3, 4)}, "is no LoRA and no learned embedding"),
    "many tensors": ("sd_v1", {"x": ONE, "y": ONE + 1}, "2 weights (x, y)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_word_of_the_model_is_refused(originals, tmp_path, case):
    name, held, *said = REFUSED[case]
    file = kept(tmp_path / "a.safetensors", **held)
    one_line(lambda: with_words(originals(name), file), str(file), *said)


def test_a_word_that_another_file_has_brought_is_refused(originals, tmp_path):
    files = [
        kept(tmp_path / f"{name}.safetensors", **{"<toy>": vectors})
        for name, vectors in (("a", THREE), ("b", ONE))
    ]
    one_line(lambda: with_words(originals("sd_v1"), *files), str(files[1]), "already")


def test_a_weight_of_a_word_is_refused(originals, tmp_path):
    file = kept(tmp_path / "toy.safetensors", **{"<toy>": ONE})
    one_line(lambda: with_words(originals("sd_v1"), f"{file}:0.5"), "without :0.5")
