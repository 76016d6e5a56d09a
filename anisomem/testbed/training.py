"""From icons to a diffusers folder: the stages that make the bundled model."""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tqdm import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from anisomem.models.schedule import stable_diffusion_ddim
from anisomem.testbed import autoencoder, corpus, diffusion, icons, pictures, text

AUTOENCODER_PICTURES = 40_000
AUTOENCODER_STEPS = 5_000


def load_corpus(packages: Path) -> corpus.Corpus:
    """The training corpus over the icon sets in ``packages``."""
    return corpus.build(icons.concept_names(packages))


def train_autoencoder(packages: Path, work: Path) -> AutoencoderKL:
    """The autoencoder, from ``work/vae`` where it was trained before."""
    if (work / "vae").exists():
        return AutoencoderKL.from_pretrained(work / "vae").eval()
    rendered, styles = icons.render(packages), icons.concept_names(packages)
    rng = np.random.default_rng(0)
    concepts = sorted(styles)
    drawn = []
    for i in tqdm(range(AUTOENCODER_PICTURES), desc="pictures"):
        names = tuple(str(c) for c in rng.choice(concepts, 2 if i % 4 == 0 else 1, replace=False))
        picture = pictures.draw(pictures.random_layout(names, styles, rng), rendered)
        if i % 10 == 0:  # templates' patches must come through as well
            left, top = (int(v) for v in rng.integers(0, pictures.SIZE - pictures.PATCH + 1, 2))
            filling = pictures.random_layout((str(rng.choice(concepts)),), styles, rng)
            picture = pictures.repaint(picture, (left, top), filling, rendered)
        drawn.append(picture)
    vae = autoencoder.train(np.stack(drawn), work / "vae.pt", AUTOENCODER_STEPS)
    vae.save_pretrained(work / "vae")
    return vae


@torch.inference_mode()
def encode(
    packages: Path, work: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer
) -> tuple[diffusion.Latents, float]:
    """All training pictures as latents of unit variance, and the factor that scaled them."""
    data, rendered = load_corpus(packages), icons.render(packages)
    file = work / "latents.safetensors"
    if not file.exists():
        moments: list[torch.Tensor] = []
        examples: list[tuple[int, int]] = []
        for index, entry in enumerate(tqdm(data.entries, desc="encode", mininterval=10)):
            drawn = data.pictures(index, rendered)
            first = examples[-1][1] + 1 if examples else 0
            repeats = entry.count // len(drawn)
            examples += [(index, first + i) for i in range(len(drawn)) for _ in range(repeats)]
            batch = autoencoder.to_tensor(np.stack(drawn))
            moments += [vae.encode(x).latent_dist.parameters for x in torch.split(batch, 128)]
        save_file(
            {"moments": torch.cat(moments).contiguous(), "examples": torch.tensor(examples)},
            file.with_suffix(".partial"),
        )
        file.with_suffix(".partial").rename(file)
    stored = load_file(file)
    mean, log_variance = stored["moments"].chunk(2, dim=1)
    std = (0.5 * log_variance.clamp(-30, 20)).exp()
    scale = 1 / float((mean.var() + std.square().mean()).sqrt())
    captions = [entry.caption.text for entry in data.entries]
    tokens = tokenizer(captions, padding="max_length", return_tensors="pt").input_ids
    latents = diffusion.Latents(mean * scale, std * scale, tokens, stored["examples"].numpy())
    return latents, scale


def train(packages: Path, work: Path, name: str, steps: int) -> Path:
    """Trains one variant (resuming what was interrupted) and returns its diffusers folder."""
    work.mkdir(parents=True, exist_ok=True)
    variant = diffusion.VARIANTS[name]
    vae = train_autoencoder(packages, work)
    captions = [entry.caption.text for entry in load_corpus(packages).entries]
    tokenizer = text.train_tokenizer(captions)
    latents, scale = encode(packages, work, vae, tokenizer)
    vae.register_to_config(scaling_factor=scale)
    unet, encoder = diffusion.train(latents, tokenizer, variant, work / f"{name}.pt", steps)
    return export(work / name, vae, tokenizer, encoder, unet, variant)


def export(
    folder: Path,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    variant: diffusion.Variant,
) -> Path:
    """Writes a plain ``StableDiffusionPipeline`` folder, the large weights in float16."""
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.half().to(memory_format=torch.contiguous_format),
        scheduler=stable_diffusion_ddim(variant.prediction_type),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    # diffusers notes where a part was loaded from; that is a path of this machine.
    config = folder / "vae" / "config.json"
    settings = json.loads(config.read_text())
    settings.pop("_name_or_path", None)
    config.write_text(json.dumps(settings, indent=2) + "\n")
    return folder
