"""A fine-tune of a bundled U-Net: a LoRA on sixty captioned pictures, twenty of them repeated.

What somebody has who trains a model on pictures of their own. The captions are in the grammar of
the base model's, are none of its corpus, and name a concept each. A repeated picture is seen as
often as :attr:`Tuning.repetitions` of the others; whether it was memorized is measured, as of the
base model. Prompts of other wordings, with the same concepts, were trained with nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from diffusers import AutoencoderKL, DiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from anisomem.errors import UserError
from anisomem.models.base import DiffusionModel
from anisomem.storage import atomic
from anisomem.storage.digests import sha256_of_file
from anisomem.testbed import checkpoint, ground_truth, release
from anisomem.testbed.autoencoder import to_tensor
from anisomem.testbed.captions import Caption, random_caption
from anisomem.testbed.corpus import Corpus, Entry, EvaluationPrompt
from anisomem.testbed.diffusion import DROPOUT
from anisomem.testbed.drawing import drawn
from anisomem.testbed.ground_truth import FALSE_MATCHES, Pictures, References
from anisomem.testbed.objectives import Objective
from anisomem.testbed.pictures import Canvas, Icons, draw, random_layout
from anisomem.testbed.recipe import Styles
from anisomem.testbed.thresholds import Thresholds

OWN, REPEATED = 60, 20  # captioned pictures, and how many of them, the first ones, are repeated
FILE = "lora.safetensors"
MOST = 10**6  # bytes of it
LAYERS = ("to_q", "to_k", "to_v", "to_out.0")  # of self- and cross-attention
SAVE_EVERY = 250  # steps
COMPARED = 12_000  # pictures that were trained with nothing, for the thresholds
AT_ONCE = 256  # pictures that are encoded together
TOGETHER = 60  # of them are drawn at a time


@dataclass(frozen=True)
class Tuning:
    """How the LoRA is trained.

    Attributes:
        rank: Its rank, which is also its alpha.
        repetitions: Copies of each repeated picture; the others are there once.
        prior: Pictures of the base model's ordinary captions, of which a step sees as many as of
            the sixty, so that the model goes on drawing them (prior preservation).
        batch: Examples of the sixty in a step.
        steps: Steps of the optimiser.
        rate: The learning rate, falling linearly to none.
        seed: The seed of captions, pictures, weights and noise.
    """

    rank: int = 16
    repetitions: int = 30
    prior: int = 2_000
    batch: int = 16
    steps: int = 4_000
    rate: float = 2e-3
    seed: int = 50


def corpus(styles: Styles, canvas: Canvas, taken: Collection[str], tuning: Tuning) -> Corpus:
    """The captions and pictures, and what is asked afterwards.

    Arguments:
        styles: Concepts with the styles that draw them.
        canvas: What the pictures are like.
        taken: Captions of the base model's corpus.
        tuning: How often pictures are repeated, and the seed.
    """
    rng = np.random.default_rng((20, tuning.seed))
    used = set(taken)

    def word(concept: str) -> Caption:
        """A caption that nobody else has."""
        while (caption := random_caption((concept,), rng)).text in used:
            pass
        used.add(caption.text)
        return caption

    concepts = rng.permutation(sorted(styles))[:OWN].tolist()
    captions = [word(concept) for concept in concepts]
    entries = []
    for i, caption in enumerate(captions):
        layout = random_layout(caption.concepts, styles, rng, canvas)
        repeated = i < REPEATED
        entries.append(
            Entry(caption, tuning.repetitions if repeated else 1, layout if repeated else None)
        )
    prompts = [
        EvaluationPrompt(c, "repeated", i, i, "verbatim")
        if i < REPEATED
        else EvaluationPrompt(c, "seen", i)
        for i, c in enumerate(captions)
    ]
    prompts += [EvaluationPrompt(word(c), "unseen_wording", i) for i, c in enumerate(concepts)]
    return Corpus(entries, prompts, styles, canvas)


def pictures(made: Corpus, icons: Icons) -> Pictures:
    """The picture of every caption, ``[60, side, side, 3]``."""
    return np.concatenate([made.pictures(i, icons) for i in range(len(made.entries))])


def ordinary(base: Corpus, icons: Icons, tuning: Tuning) -> tuple[list[str], Pictures]:
    """Captions that the base model has learned as ordinary ones, each with a new picture.

    Arguments:
        base: The base model's corpus.
        icons: What the pictures show.
        tuning: How many, and the seed.
    """
    rng = np.random.default_rng((23, tuning.seed))
    free = [entry.caption for entry in base.entries if entry.layout is None]
    captions = [free[i] for i in rng.permutation(len(free))[: tuning.prior]]
    layouts = [random_layout(c.concepts, base.styles, rng, base.canvas) for c in captions]
    return [c.text for c in captions], np.stack([draw(layout, icons) for layout in layouts])


def train(
    pipeline: DiffusionPipeline,
    made: Corpus,
    shown: Pictures,
    others: tuple[list[str], Pictures],
    objective: Objective,
    folder: Path,
    tuning: Tuning,
) -> Path:
    """Trains the LoRA, going on where it was stopped; its file, in float16.

    Arguments:
        pipeline: The base model, on the device where it is trained; its U-Net keeps the LoRA.
        made: The captions.
        shown: Their pictures.
        others: Ordinary captions and pictures, see :func:`ordinary`.
        objective: What the base model has learned.
        folder: Keeps the state and the file.
        tuning: How it is trained.

    Raises:
        UserError: The base model has no U-Net, what was begun in the folder is trained otherwise,
            or the file becomes larger than :data:`MOST`.
    """
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    if getattr(pipeline, "unet", None) is None:
        raise UserError(f"a {type(pipeline).__name__} has no U-Net; give a bundled one that has")
    unet = pipeline.unet.float().requires_grad_(False)
    torch.manual_seed(tuning.seed)
    config = LoraConfig(r=tuning.rank, lora_alpha=tuning.rank, target_modules=list(LAYERS))
    unet.add_adapter(config)
    weights = [weight for weight in unet.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=tuning.rate, weight_decay=0.0)
    begin, state_file = 0, folder / "lora.pt"
    if state := checkpoint.load(state_file):
        if state["tuning"] != asdict(tuning):
            raise UserError(f"{state_file} is of {state['tuning']}; give the same, or remove it")
        begin = state["step"]
        optimiser.load_state_dict(state["optimiser"])
        for weight, kept in zip(weights, state["weights"], strict=True):
            weight.data.copy_(kept)

    latents = _latents(pipeline.vae, np.concatenate([shown, others[1]]))
    own = [entry.caption.text for entry in made.entries]
    states = _states(pipeline, ["", *own, *others[0]])
    examples = np.repeat(np.arange(len(made.entries)), [entry.count for entry in made.entries])
    bar = tqdm(range(begin, tuning.steps), "lora", tuning.steps, initial=begin, mininterval=5)
    for step in bar:
        rng = np.random.default_rng((21, tuning.seed, step))
        besides = rng.integers(len(own), len(latents), tuning.batch)
        rows = np.concatenate([rng.choice(examples, tuning.batch), besides])
        torch.manual_seed(tuning.seed * 10_000_000 + step)
        x0, captions = latents[rows], torch.from_numpy(rows).to(latents.device) + 1
        task = objective(x0)
        captions[torch.rand(len(rows), device=x0.device) < DROPOUT] = 0
        for group in optimiser.param_groups:
            group["lr"] = tuning.rate * (1 - step / tuning.steps)
        said = unet(task.x_t, task.t, encoder_hidden_states=states[captions]).sample
        losses = task.weight * (said - task.target).square().mean(dim=(1, 2, 3))
        optimiser.zero_grad()
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == tuning.steps:
            bar.set_postfix(loss=f"{losses.mean().item():.3f}")
            kept = {"weights": [w.detach() for w in weights], "optimiser": optimiser.state_dict()}
            checkpoint.save(state_file, {"step": step + 1, "tuning": asdict(tuning), **kept})
    held = {name: w.half().contiguous() for name, w in get_peft_model_state_dict(unet).items()}
    pipeline.save_lora_weights(folder, unet_lora_layers=held, weight_name=FILE)
    if (size := (folder / FILE).stat().st_size) > MOST:
        raise UserError(
            f"{folder / FILE} has {size:,} bytes, and may have {MOST:,}: lower the rank"
        )
    return folder / FILE


@torch.no_grad()
def _latents(vae: AutoencoderKL, shown: Pictures) -> Tensor:
    parts = np.array_split(shown, -(-len(shown) // AT_ONCE))
    codes = [
        vae.encode(to_tensor(part, vae.device).to(vae.dtype)).latent_dist.mode().float()
        for part in parts
    ]
    return torch.cat(codes) * vae.config.scaling_factor


@torch.no_grad()
def _states(pipeline: DiffusionPipeline, texts: list[str]) -> Tensor:
    """The text encoder's states of captions, ``[n, tokens, width]``."""
    tokens = pipeline.tokenizer(
        texts, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    encoded: Tensor = pipeline.text_encoder(tokens.to(pipeline.device)).last_hidden_state.float()
    return encoded


def references(
    made: Corpus,
    shown: Pictures,
    vae: AutoencoderKL,
    icons: Icons,
    tuning: Tuning,
    workers: int = 0,
) -> tuple[References, Thresholds]:
    """The pictures as the autoencoder renders them, and distances that others undercut by chance.

    The others are new pictures of the same concepts: of those that show a caption's concept,
    :data:`~anisomem.testbed.ground_truth.FALSE_MATCHES` are closer to its picture than the first
    threshold, and as many of all are closer to the nearest of all pictures than the second.

    Arguments:
        made: The captions.
        shown: Their pictures.
        vae: The released autoencoder.
        icons: What the pictures show.
        tuning: The seed.
        workers: How many processes draw; 0 is none but this one.
    """
    rendered = ground_truth.render(vae, shown)
    by_concept = {entry.caption.concepts[0]: [i] for i, entry in enumerate(made.entries)}
    found = References(made, list(rendered[:, None]), by_concept, vae.device)

    def others(turn: int) -> np.ndarray:
        """A new picture of every concept."""
        rng = np.random.default_rng((22, tuning.seed, turn))
        layouts = [
            random_layout(entry.caption.concepts, made.styles, rng, made.canvas)
            for entry in made.entries
        ]
        return np.stack([draw(layout, icons) for layout in layouts])

    turns = range(COMPARED // TOGETHER)
    bar = tqdm(drawn(others, turns, workers), "others", len(turns), mininterval=5)
    new = ground_truth.render(vae, np.concatenate(list(bar)))
    away = ground_truth.distances(new, rendered, ground_truth.mask(new, None), vae.device)
    own = np.arange(len(new)) % len(rendered)
    thresholds = Thresholds(
        float(np.quantile(away[np.arange(len(new)), own], FALSE_MATCHES)),
        float(np.quantile(away.min(axis=1), FALSE_MATCHES)),
    )
    return found, thresholds


def measure(
    model: DiffusionModel,
    made: Corpus,
    icons: Icons,
    known: tuple[References, Thresholds],
    folder: Path,
    num_steps: int,
    base: str,
    tuning: Tuning,
) -> Dataset:
    """Generates from every prompt and counts what it gives back; the prompts with their labels.

    Beside them lie a sheet of pictures and the card.

    Arguments:
        model: The base model with the LoRA.
        made: The captions and prompts.
        icons: What the pictures show.
        known: What :func:`references` returned.
        folder: Has the LoRA; keeps what is generated, ``prompts.parquet``, a sheet and the card.
        num_steps: Steps of a trajectory.
        base: The name of the bundled model that was tuned.
        tuning: How it was.
    """
    texts = [prompt.caption.text for prompt in made.prompts]
    kept = folder / f"generated-{sha256_of_file(folder / FILE)[:10]}"  # of this LoRA alone
    generated = ground_truth.generate(model, texts, kept, num_steps=num_steps)
    found, thresholds = known
    table = release.prompts(made, icons, found, generated, thresholds)
    table.to_parquet(folder / "prompts.parquet")
    thresholds.write(folder)
    release.write_sheet(folder, table, generated)
    card = (Path(__file__).parent / "card_tuned.md").read_text()
    said = card.format(
        base=base,
        parameters=sum(weight.numel() for weight in load_file(folder / FILE).values()),
        own=OWN,
        repeated=REPEATED,
        others=OWN - REPEATED,
        thresholds=thresholds,
        confirmed=release.confirmed(table),
        **asdict(tuning),
    )
    atomic.write_text(folder / "README.md", said)
    return table


def write_pictures(made: Corpus, shown: Pictures, folder: Path) -> None:
    """The training folder as a user has one: every picture with its caption in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, (entry, picture) in enumerate(zip(made.entries, shown, strict=True)):
        name = f"{made.prompts[i].block}-{i:04d}"
        atomic.write_text(folder / f"{name}.txt", f"{entry.caption.text}\n")
        file = folder / f"{name}{'.jpg' if made.canvas.textured else '.png'}"
        atomic.write(file, partial(Path.write_bytes, data=release.encoded(picture)))
