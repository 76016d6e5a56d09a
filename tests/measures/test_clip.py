"""CLIP scores of a tiny random model, against its own logits."""

import re
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from anisomem.errors import UserError
from anisomem.measures.base import TrainingPictures
from anisomem.measures.clip import Aesthetic, ClipScore, _layers
from anisomem.measures.weights import WeightsFile

NOTHING = TrainingPictures({})
SIZES = (6, 5, 1)  # of the aesthetic layers


@pytest.fixture(scope="module")
def folder(clip_tokenizer, tmp_path_factory):
    """A model of pictures of 16 pixels and texts of ten tokens."""
    folder, words = tmp_path_factory.mktemp("clip"), clip_tokenizer()
    tower = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1}
    tower |= {"num_attention_heads": 2, "projection_dim": 6}
    text = {
        "vocab_size": len(words),
        "max_position_embeddings": 10,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    config = CLIPConfig(
        text_config=tower | text,
        vision_config=tower | {"image_size": 16, "patch_size": 8},
        projection_dim=6,
        initializer_factor=3.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    size = {"shortest_edge": 16}
    CLIPImageProcessorPil(size=size, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return str(folder)


def prepared(picture):
    """Bicubic to the shorter side, the middle, OpenAI's normalisation."""
    image = Image.fromarray(picture)
    width, height = image.size
    scale = 16 / min(width, height)
    image = image.resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - 16) // 2, (image.height - 16) // 2
    colours = np.asarray(image.crop((left, top, left + 16, top + 16)), np.float32) / 255
    mean = np.float32([0.48145466, 0.4578275, 0.40821073])
    deviation = np.float32([0.26862954, 0.26130258, 0.27577711])
    return torch.from_numpy(((colours - mean) / deviation).transpose(2, 0, 1))


def test_score_is_the_cosine_of_the_models_own_embeddings(
    folder, noise, generated, clip_tokenizer
):
    pictures, text = noise(3, 24, 40), "a red cat dog"
    measure = ClipScore("clip", folder)
    measure.start(NOTHING, "cpu")
    found = measure(generated(pictures, text=text))["clip"]
    model = CLIPModel.from_pretrained(folder)
    tokens = clip_tokenizer()([text], return_tensors="pt")
    assert tokens.input_ids.shape[1] < 10
    with torch.inference_mode():
        batch = torch.stack([prepared(picture) for picture in pictures])
        logits = model(pixel_values=batch, **tokens).logits_per_image[:, 0]
        expected = logits / model.logit_scale.exp()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.ptp(found) > 1e-3 and (abs(found) <= 1 + 1e-6).all()
    other = measure(generated(pictures, text="dog"))["clip"]
    assert abs(other - found).max() > 1e-3


def test_long_prompts_are_cut_and_keep_their_end(folder, noise, generated):
    measure = ClipScore("clip", folder)
    measure.start(NOTHING, "cpu")
    pictures = noise(1, 16, 16)
    long = [measure(generated(pictures, text="dog " * n))["clip"] for n in (8, 9, 90)]
    assert long[0] == long[1] == long[2]


def test_pictures_in_batches(folder, noise, generated, monkeypatch):
    measure = ClipScore("clip", folder)
    measure.start(NOTHING, "cpu")
    pictures = noise(5, 16, 16)
    whole = measure(generated(pictures))["clip"]
    monkeypatch.setattr("anisomem.measures.clip.BATCH", 2)
    np.testing.assert_allclose(measure(generated(pictures))["clip"], whole, atol=1e-6)


def layers(path, sizes=SIZES, **changes):
    """Linear layers with numbers like those of the published file, where dropout has some."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for number, (a, b) in zip((0, 2), pairwise(sizes), strict=True):
        tensors[f"layers.{number}.weight"] = torch.randn(b, a, generator=generator)
        tensors[f"layers.{number}.bias"] = torch.randn(b, generator=generator)
    save_file(tensors | changes, path)
    return {"weights": str(path), "sha256": sha256(path.read_bytes()).hexdigest()}


def test_aesthetic_score_is_affine_in_the_embedding(folder, noise, generated, tmp_path):
    given = layers(tmp_path / "head.safetensors")
    measure = Aesthetic("aesthetic", **given, model=folder)
    measure.start(NOTHING, "cpu")
    pictures = noise(4, 16, 16)
    found = measure(generated(pictures))["aesthetic"]
    with torch.inference_mode():
        batch = torch.stack([prepared(picture) for picture in pictures])
        embedded = CLIPModel.from_pretrained(folder).get_image_features(batch).pooler_output
    unit = (embedded / embedded.norm(dim=1, keepdim=True)).double().numpy()
    (w, b), (v, c) = ([t.double().numpy() for t in pair] for pair in measure._layers)
    np.testing.assert_allclose(found, unit @ (v @ w)[0] + (v @ b + c), atol=1e-5)


def test_the_published_head_is_converted_as_the_page_says(tmp_path, monkeypatch):
    """The conversion in docs/measures.md, on a file of the published layout."""
    page = (Path(__file__).parents[2] / "docs" / "measures.md").read_text()
    code = next(c for c in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if ".pth" in c)
    sizes, numbers = (768, 1024, 128, 64, 16, 1), (0, 2, 4, 6, 7)
    state = {}
    for number, a, b in zip(numbers, sizes[:-1], sizes[1:], strict=True):
        state[f"layers.{number}.weight"] = torch.zeros(b, a)
        state[f"layers.{number}.bias"] = torch.full((b,), float(number))
    monkeypatch.chdir(tmp_path)
    torch.save(state, "sac+logos+ava1-l14-linearMSE.pth")
    exec(code, {"print": print})
    (file,) = tmp_path.glob("*.safetensors")
    content = file.read_bytes()
    assert WeightsFile(str(file), sha256(content).hexdigest()).read() == content
    found = _layers(file.name, content)
    assert [tuple(weight.shape) for weight, _ in found][::4] == [(1024, 768), (1, 16)]
    assert [float(bias[0]) for _, bias in found] == list(numbers)


def test_mistakes(folder, tmp_path):
    def start(given, model=folder):
        with pytest.raises(UserError) as caught:
            Aesthetic("aesthetic", **given, model=model).start(NOTHING, "cpu")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    file = tmp_path / "head.safetensors"
    assert "takes 7 numbers, and" in start(layers(file, (7, 5, 1)))
    assert "make no single number" in start(layers(file, (6, 5, 2)))
    assert "expected layers.0.weight" in start(layers(file, other=torch.zeros(1)))
    torch.save({}, file)
    given = {"weights": str(file), "sha256": sha256(file.read_bytes()).hexdigest()}
    assert "is a pickle of PyTorch; convert it, see docs/measures.md" in start(given)
    file.write_bytes(b"junk")
    given = {"weights": str(file), "sha256": sha256(b"junk").hexdigest()}
    assert "is no safetensors file" in start(given)
    assert "no CLIP model at" in start(layers(file), model=str(tmp_path))
    with pytest.raises(UserError, match=r"no CLIP model at '.*weights in safetensors") as caught:
        ClipScore("clip", str(tmp_path / "gone")).start(NOTHING, "cpu")
    assert "\n" not in str(caught.value)


def test_weights_in_a_pickle_are_refused(folder, tmp_path):
    model = CLIPModel.from_pretrained(folder)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="no CLIP model at"):
        ClipScore("clip", str(tmp_path)).start(NOTHING, "cpu")
