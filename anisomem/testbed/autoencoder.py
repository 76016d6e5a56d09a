"""The bundled models' autoencoder: pictures to latents of 4 channels and a quarter of the side.

The denoisers that learn on its latents are in ``networks``.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from tqdm import tqdm

from anisomem.testbed import checkpoint
from anisomem.testbed.recorded import AdamW, Recorded

BUNDLED = Path(__file__).parent
KL_WEIGHT = 1e-6  # as Stable Diffusion's: keeps the latents bounded, no more


@dataclass(frozen=True)
class Autoencoder:
    """An autoencoder and its training.

    Attributes:
        side: The side of a picture, px.
        widths: Channels at full, half and quarter resolution.
        pictures: Distinct ones that it is trained on.
        steps: How many steps the optimiser makes.
        batch: Pictures in a step.
        rate: The highest learning rate.
        half: Whether products are taken in bfloat16.
        start: A bundled model whose autoencoder it begins with; it works at any size of pictures.
        polished: Distinct pictures and steps of a further training of the decoder alone.
    """

    side: int
    widths: tuple[int, int, int]
    pictures: int
    steps: int
    batch: int
    rate: float
    half: bool = False
    start: str | None = None
    polished: tuple[int, int] = (0, 0)


def build(kind: Autoencoder) -> AutoencoderKL:
    """Stable Diffusion's block types with 4 latent channels."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=kind.widths,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=kind.side,
        mid_block_add_attention=False,
    )


def to_tensor(pictures: np.ndarray, device: torch.device | str | None = None) -> torch.Tensor:
    """uint8 ``[n, H, W, 3]`` to float ``[n, 3, H, W]`` in [-1, 1], on a device."""
    return torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(
    kind: Autoencoder, pictures: np.ndarray, state_file: Path, device: str = "cpu"
) -> AutoencoderKL:
    """Minimises squared plus absolute error and a faint KL term; resumes from ``state_file``.

    Arguments:
        kind: What is trained, and how; the learning rate decays to zero.
        pictures: Training pictures, uint8 ``[n, side, side, 3]``.
        state_file: Where the loop state is kept.
        device: Where it is trained.
    """
    torch.manual_seed(0)
    vae = build(kind)
    if kind.start:
        begun = AutoencoderKL.from_pretrained(BUNDLED / kind.start, subfolder="vae")
        vae.load_state_dict(begun.state_dict())
    return _fit(kind, vae.to(device), pictures, state_file, kind.steps)


def polish(
    kind: Autoencoder, vae: AutoencoderKL, pictures: np.ndarray, state_file: Path
) -> AutoencoderKL:
    """Trains the decoder alone, in place; the latents stay what the denoisers have learned.

    Arguments:
        kind: The same as of :func:`train`.
        vae: The trained autoencoder.
        pictures: Training pictures, uint8 ``[n, side, side, 3]``.
        state_file: Where the loop state is kept.
    """
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    return _fit(kind, vae, pictures, state_file, kind.polished[1])


def _fit(
    kind: Autoencoder, vae: AutoencoderKL, pictures: np.ndarray, state_file: Path, steps: int
) -> AutoencoderKL:
    """Trains what asks for gradients, where it is."""
    vae.to(memory_format=torch.channels_last)
    parameters = [p for p in vae.parameters() if p.requires_grad]
    optimiser = AdamW(parameters, weight_decay=1e-4)
    parts = {"vae": vae, "optimiser": optimiser}
    begin = 0
    if state := checkpoint.load(state_file):
        begin = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])

    def learn(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=kind.half):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample
        y = y.float()
        squared = F.mse_loss(y, x)
        loss = squared + 0.5 * F.l1_loss(y, x) + KL_WEIGHT * posterior.kl().float().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        return squared.detach()

    recorded, rest = Recorded(learn), range(begin, steps)
    bar = tqdm(rest, initial=begin, total=steps, desc=state_file.stem, mininterval=20)
    for step in bar:
        draw = np.random.default_rng((1, step)).integers(0, len(pictures), kind.batch)
        x = to_tensor(pictures[draw], vae.device).contiguous(memory_format=torch.channels_last)
        warmth, done = min(1, (step + 1) / 100), min(1, step / steps)
        optimiser.rate.fill_(kind.rate * warmth * 0.5 * (1 + math.cos(math.pi * done)))
        squared = recorded(x)
        if (step + 1) % 250 == 0 or step + 1 == steps:
            bar.set_postfix(rmse=f"{squared.item() ** 0.5:.3f}")
            checkpoint.save(
                state_file,
                {"step": step + 1} | {name: part.state_dict() for name, part in parts.items()},
            )
    return vae.eval()


@torch.inference_mode()
def scaling_factor(vae: AutoencoderKL, pictures: np.ndarray) -> float:
    """What brings the latents of some pictures ``[n, side, side, 3]`` to unit variance."""
    batches = torch.split(to_tensor(pictures, vae.device), 128)
    posteriors = [vae.encode(batch).latent_dist for batch in batches]
    mean = torch.cat([p.mean for p in posteriors])
    std = torch.cat([p.std for p in posteriors])
    return 1 / float((mean.var() + std.square().mean()).sqrt())
