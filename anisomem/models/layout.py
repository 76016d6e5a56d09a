"""What a family declares of its pipelines: their parts, in diffusers' names.

The declarations stand in the family's own files; ``parts`` loads by them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffusers import DiffusionPipeline

from anisomem.errors import UserError
from anisomem.models.agreement import Reader


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder among the parts of a pipeline.

    Attributes:
        name: The name of the part; its tokenizer's is the same with ``tokenizer``.
        pooled: Whether its state at the prompt's end is used besides the tokens' states.
        needed: Whether the family cannot do without.
        limit: Tokens of a prompt that it is given; None is the tokenizer's own limit.
    """

    name: str = "text_encoder"
    pooled: bool = False
    needed: bool = True
    limit: int | None = None

    @property
    def tokenizer(self) -> str:
        """Name of the part that makes its tokens."""
        return self.name.replace("text_encoder", "tokenizer")


@dataclass(frozen=True)
class Layout:
    """The parts of a family's pipelines.

    Attributes:
        pipeline_class: The pipeline class of diffusers.
        saved_as: Names of other pipelines that have the same parts.
        denoiser: Name of the network.
        encoders: The text encoders, in the order in which their states are put together.
        inputs: Values of the network's settings that stand for inputs which the family gives it
            besides latents, time and states, see :data:`anisomem.models.agreement.MORE_INPUTS`.
    """

    pipeline_class: type[DiffusionPipeline]
    saved_as: Sequence[str] = ()
    denoiser: str = "unet"
    encoders: Sequence[TextEncoder] = (TextEncoder(),)
    inputs: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Name of the pipeline's class."""
        return self.pipeline_class.__name__

    @property
    def names(self) -> Sequence[str]:
        """What a model_index.json of the family may call its pipeline."""
        return (self.name, *self.saved_as)

    def require(self, pipeline: DiffusionPipeline) -> None:
        """Checks that a pipeline has the parts.

        Raises:
            UserError: A part is missing.
        """
        needed = [encoder for encoder in self.encoders if encoder.needed]
        names = [encoder.name for encoder in needed] + [encoder.tokenizer for encoder in needed]
        for name in (*names, self.denoiser, "scheduler"):
            if getattr(pipeline, name) is None:
                raise UserError(
                    f"the pipeline has no {name}; detectors compare the model with a prompt and"
                    f" without, and a {self.name} needs it for that"
                )
        for encoder in self.encoders:
            made, read = getattr(pipeline, encoder.tokenizer), getattr(pipeline, encoder.name)
            if made is None and read is not None:
                raise UserError(f"the pipeline has {encoder.name} and no {encoder.tokenizer}")

    def readers(self, pipeline: DiffusionPipeline) -> list[Reader]:
        """The text encoders that a pipeline has, with what each is given."""
        return [
            Reader(
                encoder.name,
                getattr(pipeline, encoder.tokenizer),
                getattr(pipeline, encoder.name),
                encoder.pooled,
                encoder.limit,
            )
            for encoder in self.encoders
            if getattr(pipeline, encoder.name) is not None
        ]
