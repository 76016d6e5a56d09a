"""Nothing recorded is lost, counted twice, or believed when damaged."""

import errno
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.errors import UserError
from anisomem.storage import atomic
from anisomem.storage.store import Origin, ScoreStore, arrays

CONTENT = {"version": 1, "seeds": [42], "model": {"dtype": "float32"}}
SAMPLES = {"norm": 4, "cos": 2}
ORIGIN = Origin(64, "a processor", "c0ffee", None)


def components(ids, offset=0.0):
    """Numbers that tell prompt, sample and component apart."""
    number = np.array([int(i[1:]) for i in ids], float)[:, None] + offset
    return {"norm": number * 10 + np.arange(4), "cos": -number * 10 - np.arange(2)}


@pytest.fixture
def store(tmp_path):
    return ScoreStore(tmp_path / "components", CONTENT)


def batch(begin, end):
    return [f"p{i}" for i in range(begin, end)]


def append(store, ids, seed, numbers):
    store.append(ids, seed, numbers, seconds=2.0, origin=ORIGIN)


def fill(store):
    append(store, batch(0, 3), 42, components(batch(0, 3)))
    append(store, batch(3, 5), 42, components(batch(3, 5)))
    append(store, batch(0, 5), 51, components(batch(0, 5), 0.5))


def check(store):
    ids = ["p4", "p0", "p2", "p1", "p3"]  # any order
    for seed, offset in ((42, 0.0), (51, 0.5)):
        found = arrays(store.read(), ids, seed, SAMPLES)
        for name, expected in components(ids, offset).items():
            np.testing.assert_array_equal(found[name], expected)


def test_what_is_appended_reads_back(store):
    fill(store)
    check(store)
    fewer = arrays(store.read(), ["p0"], 42, {"norm": 1})
    assert fewer["norm"].tolist() == [[0.0]]


def test_merging_changes_nothing_and_repeats_nothing(store):
    fill(store)
    store.merge()
    assert len(list(store.folder.glob("*.parquet"))) == 1
    check(store)
    (before,) = store.folder.glob("*.parquet")
    store.merge()
    assert [before] == list(store.folder.glob("*.parquet"))


@pytest.mark.parametrize("together", [1, 2, 3])
def test_shards_moved_together_while_they_are_read_lose_no_row(store, monkeypatch, together):
    monkeypatch.setattr("anisomem.storage.store.TOGETHER", together)
    fill(store)
    before = store.read()
    assert before["prompt_id"].tolist() == [f"p{i}" for i in range(5) for _ in range(8)]
    check(store)
    store.merge()
    pd.testing.assert_frame_equal(store.read(), before)


def test_merge_killed_before_it_removed_the_shards(store, monkeypatch):
    fill(store)
    monkeypatch.setattr(Path, "unlink", lambda *a, **k: None)
    store.merge()
    monkeypatch.undo()
    assert len(list(store.folder.glob("*.parquet"))) == 4
    check(store)
    assert len(store.read()) == 10 * 4  # every row once


def test_two_processes_recorded_the_same(store):
    fill(store)
    again = components(batch(0, 3), 1e-9)
    append(store, batch(0, 3), 42, again)
    assert len(store.read()) == 10 * 4
    store.merge()
    found = arrays(store.read(), batch(0, 3), 42, SAMPLES)
    np.testing.assert_allclose(found["norm"], components(batch(0, 3))["norm"], atol=1e-7)


def test_detectors_in_another_order_share_a_store(store):
    numbers = components(batch(0, 3))
    append(store, batch(0, 3), 42, numbers)
    append(store, batch(3, 5), 42, dict(reversed(components(batch(3, 5)).items())))
    append(store, batch(0, 5), 51, components(batch(0, 5), 0.5))
    check(store)


def test_failed_prompt_keeps_its_reason_until_it_succeeds(store):
    numbers = components(batch(0, 3))
    numbers["cos"][1, 1] = np.nan
    numbers["norm"][2, 3] = -np.inf
    append(store, batch(0, 3), 42, numbers)
    frame = store.read()
    reasons = [set(frame[frame["prompt_id"] == i]["failure"].fillna("")) for i in batch(0, 3)]
    assert reasons == [{""}, {"cos is NaN"}, {"norm is infinite"}]
    append(store, batch(0, 3), 42, components(batch(0, 3)))
    for _ in range(2):
        assert store.read()["failure"].isna().all() and len(store.read()) == 3 * 4
        store.merge()


def test_seconds_of_a_batch_are_shared_by_its_rows(store):
    fill(store)
    store.merge()
    frame = store.read()
    assert frame["seconds"].sum() == pytest.approx(3 * 2.0)
    origins = frame[["batch_size", "device", "git_commit", "revision"]].drop_duplicates()
    assert origins.iloc[0, :3].tolist() == [64, "a processor", "c0ffee"]
    assert len(origins) == 1 and origins["revision"].isna().all()


def test_reader_waits_for_a_merge_of_another_process(store, monkeypatch):
    fill(store)
    read_bytes, other = Path.read_bytes, ScoreStore.stored(store.folder)

    def merged_meanwhile(path):
        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        other.merge()
        return path.read_bytes()

    monkeypatch.setattr(Path, "read_bytes", merged_meanwhile)
    check(store)


@pytest.mark.filterwarnings("error")
def test_merge_clears_away_what_a_killed_process_left(store):
    fill(store)
    names = (f".partial-{'a' * 32}.parquet", f".partial-{'b' * 32}.parquet", ".partial-of-others")
    fresh, abandoned, foreign = (store.folder / name for name in names)
    for partial in (fresh, abandoned, foreign):
        partial.write_bytes(b"half")
    for partial in (abandoned, foreign):
        os.utime(partial, (0, 0))
    store.merge()
    assert fresh.exists() and not abandoned.exists()
    assert foreign.exists()  # a name that is not ours
    check(store)


def test_file_that_another_process_is_writing_is_left_alone(store):
    fill(store)
    partial = store.folder / ".partial-1.parquet"
    partial.write_bytes(b"half")
    check(store)  # a warning would be an error here
    store.merge()
    assert partial.read_bytes() == b"half"


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_damaged_shard_is_set_aside_and_the_rest_kept(store, damage):
    fill(store)
    shard = max(store.folder.glob("*.parquet"), key=lambda f: f.stat().st_size)
    content = bytearray(shard.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    shard.write_bytes({"truncated": content[:-9], "flipped": content, "empty": b""}[damage])
    with pytest.warns(UserWarning, match="is damaged; what it held is recorded again"):
        frame = store.read()
    assert 0 < len(frame) < 10 * 4
    assert [f.suffix for f in store.folder.iterdir() if f.stem == shard.stem] == [".damaged"]
    fill(store)
    check(store)


@pytest.mark.parametrize("kind", ["broken link", "loop", "pipe", "folder", "device"])
def test_what_is_no_file_among_the_shards_is_set_aside(store, kind):
    fill(store)
    shard = max(store.folder.glob("*.parquet"), key=lambda f: f.stat().st_size)
    shard.unlink()
    match kind:
        case "broken link":
            shard.symlink_to("/nowhere")
        case "loop":
            shard.symlink_to(shard)
        case "device":
            shard.symlink_to("/dev/zero")
        case "pipe":
            os.mkfifo(shard)
        case "folder":
            shard.mkdir()
    with pytest.warns(UserWarning, match="is damaged; what it held is recorded again"):
        frame = store.read()
    assert 0 < len(frame) < 10 * 4
    assert shard.with_suffix(".damaged") in store.folder.iterdir()
    fill(store)
    check(store)


def named(store, content):
    """A file under the name of its content, as a shard has."""
    (store.folder / f"{sha256(content).hexdigest()}.parquet").write_bytes(content)


def parquet(table):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("change", ["no parquet", "without a column", "seeds as text", "words"])
def test_a_shard_of_another_layout_is_damaged_though_its_name_is_right(store, change):
    fill(store)
    whole = pq.read_table(next(store.folder.glob("*.parquet")))
    texts = pa.array(["x"] * len(whole))
    named(
        store,
        {
            "no parquet": b"PAR1 no parquet PAR1",
            "without a column": parquet(whole.drop_columns("sample")),
            "seeds as text": parquet(whole.set_column(1, "seed", texts)),
            "words": parquet(whole.append_column("word", texts)),
        }[change],
    )
    with pytest.warns(UserWarning, match="is damaged"):
        check(store)


def test_shards_of_different_components_are_refused(store):
    fill(store)
    whole = pq.read_table(next(store.folder.glob("*.parquet")))
    named(store, parquet(whole.drop_columns("cos")))
    with pytest.raises(UserError, match="shards of different components"):
        store.read()


@pytest.mark.parametrize("kind", ["pipe", "folder", "broken link"])
def test_what_is_read_of_a_run_must_be_a_file(store, kind):
    fill(store)
    file = store.folder / "identity.json"
    file.unlink()
    {"pipe": os.mkfifo, "folder": os.mkdir, "broken link": lambda f: f.symlink_to("/nowhere")}[
        kind
    ](file)
    with pytest.raises(UserError, match=r"identity\.json is no file; remove it"):
        ScoreStore.stored(store.folder)
    with pytest.raises(UserError, match=r"identity\.json is no file; remove it"):
        ScoreStore(store.folder, CONTENT)


@pytest.mark.parametrize(
    "content", ["[]", "3", '{"version": "1"}', '{"prompts": 3}', "[" * 100_000]
)
def test_an_identity_of_another_kind_is_damaged(store, content):
    fill(store)
    (store.folder / "identity.json").write_text(content)
    with pytest.raises(UserError, match=r"identity\.json is damaged; remove it and run"):
        ScoreStore.stored(store.folder)


def test_the_first_file_written_to_a_folder_clears_away_what_a_killed_process_left(tmp_path):
    abandoned = tmp_path / f".partial-{'c' * 32}.png"
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    atomic.write_text(tmp_path / "table.md", "whole")
    assert [file.name for file in tmp_path.iterdir()] == ["table.md"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other"])
def test_damaged_arrays_are_one_line(tmp_path, damage):
    file = tmp_path / "gallery.npz"
    atomic.write_arrays(file, {"a": np.arange(1000) % 7})
    np.testing.assert_array_equal(atomic.read_arrays(file)["a"], np.arange(1000) % 7)
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    changed = {"truncated": content[:-9], "flipped": content, "empty": b"", "other": b"text"}
    file.write_bytes(changed[damage])
    with pytest.raises(UserError, match=r"gallery\.npz is damaged"):
        atomic.read_arrays(file)


def test_store_of_another_identity_is_refused(store):
    fill(store)
    other = CONTENT | {"model": {"dtype": "float16"}, "version": 2}
    with pytest.raises(UserError, match=r"differs in model\.dtype, version"):
        ScoreStore(store.folder, other)
    ScoreStore(store.folder, CONTENT)
    assert len(ScoreStore.stored(store.folder).read()) == 10 * 4


def test_component_that_was_not_recorded(store):
    fill(store)
    with pytest.raises(UserError, match="no component hvp"):
        arrays(store.read(), ["p0"], 42, {"hvp": 1})


def test_partial_file_that_gets_its_name_meanwhile(store, monkeypatch):
    fill(store)
    partial = store.folder / ".partial-1.parquet"
    partial.write_bytes(b"half")
    stat = Path.stat

    def named_meanwhile(path, **choices):
        if path == partial:
            partial.unlink(missing_ok=True)
        return stat(path, **choices)

    monkeypatch.setattr(Path, "stat", named_meanwhile)
    store.merge()
    check(store)


def test_failed_write_leaves_the_old_file_and_is_one_line(tmp_path):
    path = tmp_path / "table.md"
    atomic.write_text(path, "old")

    def full(temporary):
        temporary.write_text("half of the new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match="No space left on device; nothing recorded is lost"):
        atomic.write(path, full)
    assert path.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["table.md"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB; needs the right to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_loses_nothing(small_disk):
    store = ScoreStore(small_disk / "components", CONTENT)
    written: list[str] = []

    def write_for_ever():
        while True:
            prompt = f"p{len(written)}"
            append(store, [prompt], 42, components([prompt]))
            written.append(prompt)

    with pytest.raises(UserError, match="No space left on device"):
        write_for_ever()
    assert len(written) > 2
    assert len(store.read()) == len(written) * 4
    assert not list(store.folder.glob(".partial*"))


def test_folder_without_permission(tmp_path):
    """As another user where the tests run as root, which may write anywhere."""
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    # The other user may not be allowed to start this interpreter, so it changes once it runs.
    code = (
        "import os; from pathlib import Path; from anisomem.storage import atomic\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        f"atomic.write_text(Path({str(folder / 'x')!r}), 'x')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Error: cannot write" in ran.stderr and "Permission denied" in ran.stderr
