"""What a model declares that it can do. Needs name it too, so nothing heavy is imported here.

A need names one in :mod:`anisomem.detection.needs`, a family in its own file.
"""

from enum import Enum


class Capability(Enum):
    """What not every model can do, and what is said of one that cannot."""

    PICTURES = "has no VAE and makes no pictures"  # decode
    ENCODER = "has no VAE that reads pictures"  # latents_of, picture_size
    ATTENTION = "has no cross-attention"  # attend
    EDITING = "has no cross-attention to be changed"  # edited
    EMBEDDINGS = "has no embeddings of tokens"  # Conditioning.embeddings
    END = "does not say where a prompt's text ends"  # Conditioning.end
    SIZES = "takes latents of one size only"  # those of another height and width
    REPRESENTATION = "has no up-sampling blocks whose activations can be read"  # represent
    VOCABULARY = "has no tokenizer"  # random_token, padded_with
    DERIVATIVES = (  # jvp, vjp
        "takes no derivatives: its network must be in one place, set model.offload=null"
    )
