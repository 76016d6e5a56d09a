"""What recording adds to the forward passes that it is made of, for a U-Net and an MMDiT.

Both are measured in one and the same pass over the prompts: the clock inside the networks against
the clock around it all, so that a slow moment of the machine is in both.
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from anisomem.bench.line import CostLine, spread
from anisomem.benchmark.case import Case
from anisomem.benchmark.record import Recorder, keep
from anisomem.engine.engine import Engine
from anisomem.models.pipeline import PipelineModel
from anisomem.models.sd3 import StableDiffusion3
from anisomem.models.vocabulary import byte_tokenizer
from anisomem.run.clock import synchronise
from anisomem.run.provenance import device_name
from anisomem.run.workers import Work, do_all

WIDTH, HEADS, LAYERS = 128, 4, 4  # of the MMDiT: a latent takes some milliseconds


def lines(case: Case, network: PipelineModel, turns: int) -> list[CostLine]:
    """Seconds of the engine and of recording, in units of those inside the networks.

    Arguments:
        case: What is recorded, batch by batch.
        network: Its model, loaded.
        turns: How often.
    """
    named = {"the model": network, "an MMDiT of random weights": mmdit(network.device)}
    return [_line(name, case, one, turns) for name, one in named.items()]


def _line(name: str, case: Case, network: PipelineModel, turns: int) -> CostLine:
    recorder = Recorder(network, case.configured, case.config)

    def engine() -> None:
        fresh = Engine(network, case.configured, case.config.noise_policy, case.config.batch_size)
        for batch in case.batches():
            fresh.evaluate(batch.texts, batch.noise_rows, batch.seed)

    def recording() -> None:
        recorder.engine = Engine(
            network, case.configured, case.config.noise_policy, case.config.batch_size
        )
        work = Work(recorder, lambda _: recorder, partial(keep, case))
        do_all(case.batches(), work, None, len(case.ids), "recording", "prompt")

    measured = {"engine": engine, "recording": recording}
    for work in measured.values():
        work()
    ratios: dict[str, list[float]] = {key: [] for key in measured}
    for _ in range(turns):
        for key, work in measured.items():
            ratios[key].append(ratio(network, work))
    return CostLine(
        f"seconds of the metric's evaluation / of the forward passes of text encoders and network"
        f" in it: {name}",
        f"{spread(ratios['engine'], 3)}; {spread(ratios['recording'], 3)} with the store",
        "≤ 1.03",
        device_name(network.device),
        {**ratios, "median": median(ratios["engine"])},
    )


def ratio(network: PipelineModel, work: Callable[[], object]) -> float:
    """Seconds of some work in units of those that it spends inside the model's networks."""
    inside, begun = 0.0, 0.0

    def enter(*_: Any) -> None:
        nonlocal begun
        synchronise(network)
        begun = perf_counter()

    def leave(*_: Any) -> None:
        nonlocal inside
        synchronise(network)
        inside += perf_counter() - begun

    modules = (network.denoiser, *network.text_encoders)
    hooks = [module.register_forward_pre_hook(enter) for module in modules]
    hooks += [module.register_forward_hook(leave) for module in modules]
    try:
        begin = perf_counter()
        work()
        synchronise(network)
        return (perf_counter() - begin) / inside
    finally:
        for hook in hooks:
            hook.remove()


def mmdit(device: torch.device) -> StableDiffusion3:
    """A Stable Diffusion 3 of random weights that a CPU evaluates in milliseconds."""
    words = byte_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=64,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = StableDiffusion3Pipeline(
            transformer=SD3Transformer2DModel(
                sample_size=8,
                in_channels=16,
                out_channels=16,
                num_layers=LAYERS,
                num_attention_heads=HEADS,
                attention_head_dim=WIDTH // HEADS,
                caption_projection_dim=WIDTH,
                joint_attention_dim=128,
                pooled_projection_dim=128,
                pos_embed_max_size=8,
            ),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=AutoencoderKL(
                block_out_channels=(8,), latent_channels=16, norm_num_groups=8, sample_size=8
            ),
            text_encoder=CLIPTextModelWithProjection(text).eval(),
            text_encoder_2=CLIPTextModelWithProjection(text).eval(),
            text_encoder_3=None,
            tokenizer=words,
            tokenizer_2=words,
            tokenizer_3=None,
        )
    model = StableDiffusion3(pipeline)
    model.place(str(device))
    return model
