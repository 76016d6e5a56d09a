"""The distances below which a bundled model's picture counts as a copy, beside its prompts.

How they are found says :mod:`anisomem.testbed.ground_truth`.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from anisomem.storage import atomic

NAME = "thresholds.yaml"  # of the file in a model's folder; no part of its pipeline


@dataclass(frozen=True)
class Thresholds:
    """Distances below which a picture reproduces another.

    Attributes:
        single: Compared with one picture.
        nearest: Compared with all training pictures of some concepts.
    """

    single: float
    nearest: float

    def write(self, folder: Path) -> None:
        """Writes them beside the prompts of a model, to the four digits that its card states."""
        stated = {name: round(value, 4) for name, value in asdict(self).items()}
        atomic.write_text(folder / NAME, yaml.safe_dump(stated, sort_keys=False))

    @classmethod
    def read(cls, folder: Path) -> "Thresholds":
        """Those of a bundled model's folder.

        Raises:
            FileNotFoundError: It is none.
        """
        return cls(**yaml.safe_load((folder / NAME).read_text()))
