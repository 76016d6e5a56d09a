"""LoRA files as trainers write them: by PEFT and diffusers, and in kohya's names by hand."""

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from tests.models.original import original_unet

RANK = 3
LINEAR = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1"]
MODULES = {
    "unet": [*LINEAR, "conv1", "proj_in"],
    "transformer": [*LINEAR, "add_q_proj", "ff.net.2"],
    "text_encoder": TEXT,
    "text_encoder_2": TEXT,
}


def train(pipeline, seed=0, **settings):
    """Puts a LoRA with random weights on every network of a pipeline that takes one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name in pipeline._lora_loadable_modules:
            config = {"r": RANK, "lora_alpha": RANK, "init_lora_weights": False, **settings}
            adapter = LoraConfig(target_modules=MODULES[name], **config)
            getattr(pipeline, name).add_adapter(adapter, "trained")
    return pipeline


def layers(pipeline):
    """PEFT's tensors of every network that holds a LoRA, by its name."""
    return {
        name: get_peft_model_state_dict(getattr(pipeline, name), adapter_name="trained")
        for name in pipeline._lora_loadable_modules
    }


def save(pipeline, folder, metadata=False, **changes):
    """The LoRA's file as diffusers writes it, without settings unless they are asked for."""
    given = {f"{name}_lora_layers": held for name, held in layers(pipeline).items()}
    if metadata:
        for name in layers(pipeline):
            config = getattr(pipeline, name).peft_config["trained"].to_dict()
            given[f"{name}_lora_adapter_metadata"] = config
    pipeline.save_lora_weights(folder, weight_name="lora.safetensors", **given | changes)
    return folder / "lora.safetensors"


def in_kohya(file, target, alphas=lambda layer: RANK, sgm=False):
    """A file of diffusers in kohya's names, with an alpha for every layer.

    The U-Net's layers are called as diffusers does, or as the original code does (``sgm``).
    """
    encoder = "lora_te1_text_model" if sgm else "lora_te_text_model"
    held = {}
    for name, weight in load_file(file).items():
        network, _, rest = name.partition(".")
        layer, _, half = rest.removesuffix(".weight").rpartition(".")
        if network == "unet":
            inner = original_unet(f"{layer}.weight").removesuffix(".weight") if sgm else layer
            stem = f"lora_unet_{inner.replace('.', '_')}"
        else:
            start = "lora_te2_text_model" if network.endswith("_2") else encoder
            stem = f"{start}_{layer.removeprefix('text_model.').replace('.', '_')}"
        held[f"{stem}.{ {'lora_A': 'lora_down', 'lora_B': 'lora_up'}[half] }.weight"] = weight
        held[f"{stem}.alpha"] = torch.tensor(float(alphas(stem)))
    save_file(held, target)
    return target
