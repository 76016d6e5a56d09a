"""A store in memory holds what one in a folder holds."""

import numpy as np
import pandas as pd

from anisomem.storage.memory import MemoryStore
from anisomem.storage.store import FAILURE, Origin, ScoreStore

ORIGIN = Origin(4, "a processor", None, None)


def test_it_reads_back_what_a_folder_reads_back(tmp_path):
    stores = [MemoryStore({"version": 1}), ScoreStore(tmp_path / "store", {"version": 1})]
    for store in stores:
        store.start()
        store.append(["a", "b"], 7, {"x": np.array([[1.0, 2], [3, np.nan]])}, 1.0, ORIGIN)
        store.append(["c"], 7, {"x": np.array([[5.0, 6]])}, 1.0, ORIGIN)
        store.merge()
    in_memory, in_folder = (
        store.read().sort_values(["prompt_id", "sample"], ignore_index=True) for store in stores
    )
    pd.testing.assert_frame_equal(in_memory, in_folder)
    assert set(in_memory[in_memory[FAILURE].notna()]["prompt_id"]) == {"b"}
    assert stores[0].content == {"version": 1} and stores[0].files == []


def test_an_empty_one_reads_as_none():
    assert MemoryStore({}).read().empty
