"""What a model would take, by the files that describe it: its weights are never read.

Its own numbers come from ``architecture``; the dry run in :mod:`anisomem.report.plan` prints them.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from anisomem.models import architecture, files
from anisomem.models.pipeline import PipelineModel
from anisomem.storage.foreign import read_json


@dataclass(frozen=True)
class Outline:
    """A pipeline of which the configuration is at hand.

    Attributes:
        family: The class of its family.
        folder: The folder in diffusers' layout.
    """

    family: type[PipelineModel]
    folder: Path

    @property
    def denoiser(self) -> Path:
        """Folder of the network."""
        return self.folder / self.family.layout.denoiser

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """The latents' shape ``(C, H, W)``."""
        return self.family.shape_of(read_json(self.denoiser / "config.json"))

    @property
    def parameters(self) -> int:
        """The number of parameters of all networks together."""
        networks = architecture.networks(self.folder, files.read_index(self.folder))
        return sum(p.numel() for network in networks for p in network.parameters())

    def activations(self, dtype: torch.dtype) -> int:
        """Bytes of the network's activations at their peak, for each latent of a forward pass.

        Traced on tensors without storage, with fused attention, in ``dtype``; directional
        derivatives take more, since they hold attention maps.
        """
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.distributed._tools.mem_tracker import MemTracker

        source = files.read_index(self.folder)[self.family.layout.denoiser]
        kind = architecture.kind(self.family.layout.denoiser, source)
        usual = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with FakeTensorMode(), torch.no_grad():
                network = architecture.described(kind, self.denoiser).eval()
                x = torch.randn(1, *self.latent_shape)
                conditioning = self.family.blank(network.config)
                tracker = MemTracker()
                tracker.track_external(network, x, *conditioning.tensors.values())
                with tracker:
                    network(x, **self.family.arguments(torch.tensor([1]), conditioning))
        finally:
            torch.set_default_dtype(usual)
        (peak,) = tracker.get_tracker_snapshot("peak").values()
        weights = sum(p.numel() * p.element_size() for p in network.parameters())
        return int(peak["Total"]) - weights
