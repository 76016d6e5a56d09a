"""The bundled models."""

from anisomem.datasets.prompts import testbed_folder
from anisomem.models.diffusers_unet import DiffusersUNet


def load(
    variant: str, dtype: str = "float32", device: str = "auto", stands_for: str | None = None
) -> DiffusersUNet:
    """A bundled model by its variant, ``epsilon`` or ``velocity``."""
    return DiffusersUNet.load(
        str(testbed_folder(variant)), dtype=dtype, device=device, stands_for=stands_for
    )
