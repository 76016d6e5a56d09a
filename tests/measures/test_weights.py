"""Weights of measures; how they are verified is tested with those who read them."""

import torch

from anisomem.measures import weights


def test_convolutions_on_a_gpu_stay_float32():
    torch.backends.cudnn.allow_tf32 = True
    assert weights.device("cpu") == "cpu" and not torch.backends.cudnn.allow_tf32
