"""What is drawn at random besides the noise itself, by the seed alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Draw:
    """A noise sample.

    Arguments:
        seed: The seed of the noise.
        sample: The number of the noise sample.
        shape: The shape of the latents.
    """

    seed: int
    sample: int
    shape: tuple[int, int, int]

    def normal(self, number: int, purpose: bytes) -> Tensor:
        """Standard normal numbers, the same for all prompts, float32 ``[C, H, W]``.

        Arguments:
            number: Which of those that serve the purpose.
            purpose: What they are for; others are independent.
        """
        entropy = np.random.SeedSequence([self.seed, self.sample, number, *purpose])
        seed = int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(seed))
