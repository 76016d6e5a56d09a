"""What a stranger may hide in a packet: nothing is unpacked, filled, imported or looked at."""

import io
import re
import struct
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.cli.main import main
from anisomem.evidence import archive
from tests.evidence.conftest import (
    BOTH,
    contents,
    find,
    listed,
    settings,
    table_of,
    written,
)


def raw(files, out, entries=(), mode="w", **more):
    """A zip with further entries, as no packet has them."""
    if mode == "w":
        written(files, out)
    with ZipFile(out, "a", **more) as packet:
        for entry, content in entries:
            packet.writestr(entry, content)
    return out


def entry(name, kind=0o100644):
    one = archive._entry(name)
    one.external_attr = kind << 16
    return one


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("one", "told"),
    [
        (entry("README.md"), "has 'README.md' twice"),
        (entry("/etc/evil"), "no place in a packet"),
        (entry("../evil"), "no place in a packet"),
        (entry("runs/../../evil"), "no place in a packet"),
        (entry("runs\\..\\evil"), "no place in a packet"),
        (entry("C:/evil/"), "no place in a packet"),
        (entry("a/b/c/d/e"), "no place in a packet"),
        (entry("a" * 300), "no place in a packet"),
        (entry("new\nline"), "no place in a packet"),
        (entry("link", 0o120777), "is a link or no regular file"),
        (entry("pipe", 0o010644), "is a link or no regular file"),
        (entry("run.sh", 0o100755), "is a link or no regular file"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value.filename[:20]),
)
def test_a_name_or_kind_that_no_packet_has_is_refused(one, told, packets, tmp_path, refused):
    out = raw(contents(packets.scan), tmp_path / "forged.zip", [(one, b"evil")])
    assert told in refused(out)
    assert [file.name for file in tmp_path.iterdir()] == ["forged.zip"]


def test_what_hides_in_a_zip_is_refused(packets, tmp_path, refused):
    whole, out = packets.scan.read_bytes(), tmp_path / "forged.zip"

    def told(content):
        out.write_bytes(content)
        return refused(out)

    assert "does not end as a zip" in told(whole + b"behind")
    told(b"before" + whole)
    assert "does not end as a zip" in told(whole[:-30])
    assert "does not end as a zip" in told(b"")
    assert "does not end as a zip" in told(b"PK" * 100)
    with ZipFile(io.BytesIO(whole)) as packet:
        order = packet.infolist()[::-1]
        files = {one.filename: packet.read(one) for one in order}
    with ZipFile(out, "w") as packet:
        for one in order:
            packet.writestr(archive._entry(one.filename), files[one.filename])
    assert "none that pack has written" in refused(out)
    with ZipFile(out, "w") as packet:
        for one in order[::-1]:
            later = ZipInfo(one.filename, (2020, 1, 1, 0, 0, 0))
            later.external_attr = 0o100644 << 16
            packet.writestr(later, files[one.filename])
    assert "none that pack has written" in refused(out)


def test_bombs_are_refused_before_they_unpack(packets, tmp_path, refused):
    out = tmp_path / "bomb.zip"
    with ZipFile(out, "w", ZIP_DEFLATED) as packet:
        packet.writestr(archive._entry(archive.MANIFEST), b" " * 10**7, ZIP_DEFLATED)
    assert out.stat().st_size < 20_000 and "is compressed or encrypted" in refused(out)

    # Entries that share their bytes would be more, together, than the file.
    content = bytearray(written({"a": b"x" * 1000, "b": b"y" * 1000}, out).read_bytes())
    places = [m.start() for m in re.finditer(b"PK\1\2", content)]
    assert len(places) == 2
    for at in places:
        struct.pack_into("<LL", content, at + 20, 2000, 2000)
    out.write_bytes(content)
    assert "larger than it is" in refused(out)
    end = content.rindex(b"PK\5\6")
    struct.pack_into("<HH", content, end + 8, 60_000, 60_000)
    out.write_bytes(content)
    assert "lists more than 1,000 files" in refused(out)

    many = listed(contents(packets.scan) | {f"{i}.md": b"" for i in range(1000)})
    assert "lists more than 1,000 files" in refused(written(many, out))


@pytest.mark.parametrize("end", ["prompts.parquet", "ordinary.parquet"])
def test_a_table_that_fills_the_memory_is_refused(end, packets, tmp_path, refused):
    whole = contents(packets.scan)
    file = find(whole, end)
    metadata = table_of(whole[file]).schema.metadata
    names = table_of(whole[file]).column_names
    text = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(200_000, np.int32)), pa.array(["long " * 10_000])
    )
    table = pa.table(dict.fromkeys(names, text)).cast(
        pa.schema([(name, pa.dictionary(pa.int32(), pa.string())) for name in names])
    )
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), sink, store_schema=False)
    assert len(sink.getvalue()) < 10**6
    forged = listed(whole | {file: sink.getvalue()})
    assert "larger, once it is read" in refused(written(forged, tmp_path / "bomb.zip"))


NAMED = {
    "a function": {"_target_": "os.system", "command": "touch forged"},
    "a module": {"_target_": "antigravity.anything"},
    "nested": {"_target_": "anisomem.baselines.wen.WenNorm", "steps": {"_target_": "os.getcwd"}},
    "a call": {"_target_": "anisomem.baselines.wen.WenNorm", "_args_": ["x"]},
    "a partial": {"_target_": "anisomem.baselines.wen.WenNorm", "_partial_": True},
    "of this package": {"_target_": "anisomem.cli.main.main"},
    "no target": {"n": [1]},
    "a base class": {"_target_": "anisomem.detection.base.Detector"},
    "what is imported there": {"_target_": "anisomem.baselines.wen.Component"},
    "itself": {"_target_": "anisomem.baselines.stack.LogisticStack", "members": ["evil"]},
    "members": {"_target_": "anisomem.baselines.stack.LogisticStack", "members": ["mine"]},
}


@pytest.mark.parametrize("what", NAMED)
@pytest.mark.parametrize("name", BOTH)
def test_code_that_a_packet_names_is_not_run(what, name, packets, tmp_path, refused, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    forge = settings(lambda c: c["detector"].update(evil=NAMED[what]))
    told = refused(written(listed(forge(contents(getattr(packets, name)))), tmp_path / "f.zip"))
    assert (
        "stated.json must state the scores of evil" in told
        or "has no detector of one's own" in told
    )
    assert not (tmp_path / "forged").exists()


@pytest.mark.parametrize("name", ["run", "run_redacted", "scan", "scan_redacted"])
@pytest.mark.parametrize("group", ["model", "dataset", "measure", "mitigation", "logger"])
def test_no_other_code_that_a_packet_names_is_imported(
    group, name, packets, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('imported', 'w')\n")
    node = {"_target_": "evil.load"}

    def change(content):
        if group in ("measure", "mitigation"):
            content[group]["evil"] = node
        else:
            content[group].update(node)

    packet = written(
        listed(settings(change)(contents(getattr(packets, name)))), tmp_path / "forged.zip"
    )
    assert main(["verify", str(packet)]) == (2 if group == "model" else 0)
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["model"].update(_target_="os.system"), "says another model.class"),
        (lambda c: c["dataset"].update(_target_="os.system"), None),
        (lambda c: c["model"].update(path="/dev/zero"), "rows make"),  # as it is called
        (lambda c: c["model"].update(path="${oc.env:HOME}"), "which no packet looks up"),
        (lambda c: c["model"].update(path="${testbed:epsilon}${testbed:epsilon}"), "looks up"),
        (lambda c: c.update(runs="${model.path}"), "which no packet looks up"),
    ],
)
def test_no_place_that_a_packet_names_is_looked_at(
    change, told, packets, tmp_path, refused, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    forged = listed(settings(change)(contents(packets.run)))
    packet = written(forged, tmp_path / "f.zip")
    if told:
        assert told in refused(packet)
    else:
        assert main(["verify", str(packet)]) == 0
    assert not (tmp_path / "forged").exists()


def test_what_is_no_packet_is_refused_in_a_line(tmp_path, refused):
    assert "is not there" in refused(tmp_path / "nowhere.zip")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "text.zip").write_text("no zip")
    assert "is no packet" in refused(tmp_path / "text.zip")
    with ZipFile(tmp_path / "other.zip", "w") as packet:
        packet.writestr(archive._entry("a.txt"), b"a")
    assert "has no manifest.json" in refused(tmp_path / "other.zip")
