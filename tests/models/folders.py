"""Pipeline folders that a test changes, and what refusing one means."""

import json
import shutil

import pytest
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from anisomem.errors import UserError
from anisomem.models.families import load

WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "transformer": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
    "text_encoder_3": "model.safetensors",
}


def rekeyed(file, rule):
    """Writes a file's weights as the rule gives them."""
    changed = {}
    for name, tensor in load_file(file).items():
        changed |= rule(name, tensor)
    save_file(changed, file, metadata={"format": "pt"})


def edited(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(folder, *said, **options):
    """Loading is refused in one line that says so."""
    return one_line(lambda: load(str(folder), device="cpu", **options), *said)


def one_line(given, *said):
    """It is refused in one line that says so."""
    with pytest.raises(UserError) as caught:
        given()
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message
    return message


def other_unet(folder, **changes):
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    shutil.rmtree(folder / "unet")
    UNet2DConditionModel.from_config({**unet.config, **changes}).save_pretrained(folder / "unet")
