"""A set that was kept is the set."""

import os
from dataclasses import fields, replace

import numpy as np
import pytest

from anisomem.datasets import kept
from anisomem.errors import UserError


def listed(value):
    return list(value) if isinstance(value, tuple) else value


def same(a, b):
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=f.type.count("float") > 0)
        if isinstance(getattr(a, f.name), np.ndarray)
        else listed(getattr(a, f.name)) == listed(getattr(b, f.name))
        for f in fields(a)
    )


@pytest.fixture
def bare(make_prompts):
    return make_prompts(["a\u2028b", " é ", "c"], [1, 0, 1], [7, 7, 9])


@pytest.fixture
def full(bare):
    return replace(
        bare,
        name="größe $x$",
        cautions=["careful"],
        repetitions=np.array([3, 0, 2**40]),
        reproduction_rates=np.array([0.1, np.nan, 1.0]),
        pictures=[b"\x00\xff", None, b""],
        families=["", "f", "g"],
        urls=[["u", "v"], [], ["w"]],
        mean_sscd=np.array([np.nan, 0.1 + 0.2, 1.0]),
    )


def test_every_field_comes_back(bare, full, tmp_path):
    for prompts in (bare, full):
        kept.write(prompts, tmp_path / "prompts.parquet")
        found = kept.read(tmp_path / "prompts.parquet")
        assert same(prompts, found)
        assert found.labels.dtype == np.int8 and found.clusters.dtype == np.int64


def test_the_same_set_is_not_written_again(full, tmp_path):
    file = tmp_path / "prompts.parquet"
    kept.write(full, file)
    before = file.stat().st_mtime_ns, file.stat().st_ino
    kept.write(full, file)
    assert before == (file.stat().st_mtime_ns, file.stat().st_ino)


def test_a_damaged_file_is_one_line(full, tmp_path):
    file = tmp_path / "prompts.parquet"
    kept.write(full, file)
    content = file.read_bytes()
    for damaged in (b"", content[:-20], content[:40] + b"x" + content[41:]):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="is damaged; remove it") as caught:
            kept.read(file)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_one_line_and_no_wait(full, tmp_path, place):
    file = tmp_path / "prompts.parquet"
    place(file)
    with pytest.raises(UserError, match="is no file; remove it"):
        kept.read(file)


def test_a_pipe_is_replaced_by_what_is_written(full, tmp_path):
    file = tmp_path / "prompts.parquet"
    os.mkfifo(file)
    kept.write(full, file)
    assert same(full, kept.read(file))
    file.unlink()
    file.mkdir()
    with pytest.raises(UserError, match=r"cannot write .*: Is a directory"):
        kept.write(full, file)
