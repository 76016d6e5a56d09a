"""Pictures by the hundred thousand, which several processes draw side by side.

What a picture is made of is in ``pictures``.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset


class _Tasks(Dataset[Any]):
    """What each of some items is made into."""

    def __init__(self, make: Callable[[Any], np.ndarray], items: Sequence[Any]) -> None:
        self.make, self.items = make, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.make(self.items[index])


def drawn(
    make: Callable[[Any], np.ndarray], items: Sequence[Any], workers: int = 0
) -> Iterator[np.ndarray]:
    """What ``make`` returns for every item, in their order.

    Arguments:
        make: Draws the picture or pictures of one item.
        items: Whatever it takes.
        workers: How many processes draw ahead; 0 draws here.
    """
    if not workers:
        yield from map(make, items)
        return
    for tensor in DataLoader(_Tasks(make, items), batch_size=None, num_workers=workers):
        yield tensor.numpy().copy()  # or its shared memory stays open
