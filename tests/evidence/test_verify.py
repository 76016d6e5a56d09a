"""A packet that is whole is verified; a forged one is refused, naming what does not agree."""

import json
import re
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pytest

from anisomem.cli.main import main
from anisomem.evidence import archive
from anisomem.storage import digests
from tests.evidence.conftest import (
    BOTH,
    contents,
    edit,
    find,
    listed,
    parquet,
    settings,
    table_of,
    written,
)

NAMES = ["run", "run_redacted", "scan", "scan_redacted"]


@pytest.mark.parametrize("name", NAMES)
def test_a_packet_is_verified_and_says_what_it_could_not_check(name, packets, capsys):
    packet = getattr(packets, name)
    assert main(["verify", str(packet)]) == 0
    out = capsys.readouterr().out
    assert f"sha256 {sha256(packet.read_bytes()).hexdigest()}" in out
    checked, unchecked = out.split("Not checked:\n")
    assert "verified" in checked and "the weights themselves" in unchecked
    if "redacted" in name:
        assert "the prompts, of which it has salted hashes" in unchecked
        told = "clusters" if "scan" in name else "the scores of text_only"
        assert told in unchecked
    else:
        assert "pictures, which only the model makes again" in unchecked
        assert "clusters" not in unchecked and "the scores of" not in unchecked


def with_rows(files, change, folder="components/"):
    """The files with other rows in their store, under the name of their new content."""
    name = min(n for n in files if folder in n and n.endswith(".parquet"))
    content = parquet(change(table_of(files[name])))
    place = f"{name.rpartition('/')[0]}/{sha256(content).hexdigest()}.parquet"
    return {n: c for n, c in files.items() if n != name} | {place: content}


def nudged(table):
    """One number of the first component is a little larger."""
    at = table.column_names.index(next(n for n in table.column_names if "norm" in n))
    values = table.column(at).to_numpy().copy()
    values[0] *= 1.001
    return table.set_column(at, table.column_names[at], pa.array(values))


def renamed_run(files, content):
    """The files of the first run under the name of another identity."""
    name = find(files, "components/identity.json")
    kind, folder, *_ = name.split("/")
    new = f"{folder.rpartition('-')[0]}-{digests.digest(content)[:10]}"
    moved = {n.replace(f"{kind}/{folder}/", f"{kind}/{new}/"): c for n, c in files.items()}
    moved[f"{kind}/{new}/components/identity.json"] = json.dumps(
        content, indent=1, sort_keys=True
    ).encode()
    return moved


def digit(content, last=False):
    """One digit of a fraction is another: the first behind a point, or the last one."""
    places = list(re.finditer(rb"\d+\.(\d+)", content))
    at = places[-1].end() - 1 if last else places[0].start(1)
    return content[:at] + (b"1" if content[at : at + 1] != b"1" else b"2") + content[at + 1 :]


def last_digit(content):
    return digit(content, last=True)


def column(end, name, change):
    def of(content):
        table = table_of(content)
        values = change(table[name].to_pylist())
        at = table.column_names.index(name)
        new = table.set_column(at, name, pa.array(values, table.schema.field(name).type))
        return parquet(new.replace_schema_metadata(table.schema.metadata))

    return edit(end, of)


def said(change):
    """A forgery of what the manifest says beside its files."""

    def forge(files):
        content = json.loads(files[archive.MANIFEST])
        change(content)
        return files | {archive.MANIFEST: (json.dumps(content, indent=1) + "\n").encode()}

    return forge


def other_identity(**changes):
    def forge(files):
        content = json.loads(files[find(files, "components/identity.json")])
        return renamed_run(files, content | changes)

    return forge


def other_columns(files):
    """The files with a shard whose name is its content's, and which is no shard."""
    shard = next(n for n in files if "components/" in n and n.endswith(".parquet"))
    content = parquet(table_of(files[shard]).rename_columns({"prompt_id": "prompt"}))
    name = f"{shard.rpartition('/')[0]}/{sha256(content).hexdigest()}.parquet"
    return {n: c for n, c in files.items() if n != shard} | {name: content}


def flipped(labels):
    return [1 - labels[0], *labels[1:-1], 1 - labels[-1]]


def turned(values):
    return [values[1], values[0], *values[2:]]


#: Forgeries whose manifest is made anew, so that only what follows from the rows can tell.
FORGED = {
    "a row's number": (BOTH, lambda files: with_rows(files, nudged), "and its rows make"),
    "a row less": (BOTH, lambda f: with_rows(f, lambda t: t.slice(1)), r"rows|lacks"),
    "a row twice": (
        BOTH,
        lambda f: with_rows(f, lambda t: pa.concat_tables([t, t.slice(0, 1)])),
        "rows",
    ),
    "rows of another prompt": (
        BOTH,
        lambda f: with_rows(
            f,
            lambda t: pa.concat_tables(
                [t, t.slice(0, 1).set_column(0, "prompt_id", pa.array(["new"]))]
            ),
        ),
        "rows",
    ),
    "a second shard": (
        BOTH,
        lambda f: (
            f
            | {
                f"{find(f, 'components/identity.json').rpartition('/')[0]}/{'0' * 64}.parquet": f[
                    min(n for n in f if "components/" in n and n.endswith(".parquet"))
                ]
            }
        ),
        "2 files of rows",
    ),
    "a shard's name": (
        BOTH,
        lambda f: {
            (n.replace(n[-72:-64], "00000000") if "components/" in n and "parquet" in n else n): c
            for n, c in f.items()
        },
        "is not what its name says",
    ),
    "a shard of other columns": (BOTH, other_columns, r"components/\w+\.parquet is damaged$"),
    "a printed digit": (["run"], edit("table.md", digit), "'table.md', line"),
    "a digit of a CSV": (["run"], edit("scores.csv", digit), "'scores.csv', line"),
    "the last digit of a CSV": (["run"], edit("scores.csv", last_digit), "'scores.csv', line"),
    "a digit by seed": (["run"], edit("scores-by-seed.csv", last_digit), "scores-by-seed.csv"),
    "a digit of an interval": (["run"], edit("table.csv", last_digit), "'table.csv', line"),
    "a digit of a further table": (["run"], edit("more.md", digit), "'more.md', line"),
    "a line of a CSV": (
        ["run"],
        edit("scores.csv", lambda c: c[: c.rindex(b"\n", 0, -1)]),
        "'scores.csv'",
    ),
    "a digit of a scan": (["scan"], edit("scan.csv", digit), "scan.csv', line"),
    "the last digit of a scan": (["scan"], edit("scan.csv", last_digit), "scan.csv', line"),
    "a flag": (["scan"], edit("scan.csv", lambda c: c.replace(b"True", b"False", 1)), "flagged"),
    "an ordinary score": (["scan"], edit("calibration.csv", last_digit), "calibration.csv', line"),
    "a scan's table": (["scan"], edit("scan.md", digit), "scan.md', line"),
    "words": (BOTH, edit("README.md", lambda c: c + b"All is well.\n"), "'README.md', line"),
    "no text": (["run"], edit("table.md", lambda c: b"\xff" + c), "not UTF-8"),
    "a prompt": (
        ["run"],
        column("prompts.parquet", "texts", lambda v: ["another", *v[1:]]),
        "other prompts",
    ),
    "a label": (["run"], column("prompts.parquet", "labels", flipped), "and its rows make"),
    "a scanned prompt": (
        ["scan"],
        column("prompts.parquet", "prompt", lambda v: ["another", *v[1:]]),
        "other prompts",
    ),
    "an id": (["scan"], column("prompts.parquet", "id", turned), "scan.csv', line"),
    "an ordinary prompt": (
        ["scan"],
        column("ordinary.parquet", "prompt", lambda v: ["another", *v[1:]]),
        "other calibration",
    ),
    "a rate": (["run"], settings(lambda c: c.update(fpr_targets=[0.5])), "and its rows make"),
    "a share": (["scan"], settings(lambda c: c.update(fdr=0.05)), "and its rows make"),
    "a calibration's seed": (["scan"], settings(lambda c: c["scan"].update(share=1.0)), "rows"),
    "draws": (["run"], settings(lambda c: c.update(draws=101)), "and its rows make"),
    "endless draws": (["run"], settings(lambda c: c.update(draws=10**12)), "draws="),
    "a detector less": (
        ["run"],
        settings(lambda c: c["detector"].pop("text_only")),
        "and its rows make",
    ),
    "no settings": (BOTH, edit("config.yaml", lambda c: b"[]"), "config.yaml"),
    "an identity": (
        BOTH,
        other_identity(noise_policy="per_prompt"),
        "says another noise_policy|differs in",
    ),
    "an identity alone": (
        BOTH,
        edit("components/identity.json", lambda c: c.replace(b"shared", b"per_prompt")),
        "called by another identity|differs in",
    ),
    "weights": (
        BOTH,
        edit("measured.json", lambda c: c.replace(b'"packages"', b'"revision": "0", "packages"')),
        "says another weights",
    ),
    "a run that is named otherwise": (
        BOTH,
        lambda f: {re.sub(r"^(runs|scans)/\w+-", r"\1/other-", n): c for n, c in f.items()},
        "says another folder|and its rows make",
    ),
    "a model's name": (BOTH, said(lambda c: c["runs"][0].update(model="sd14")), "another model"),
    "an identity in the manifest": (
        BOTH,
        said(lambda c: c["runs"][0].update(identity="0" * 64)),
        "another identity",
    ),
    "a run less in the manifest": (BOTH, said(lambda c: c["runs"].pop()), "number of runs"),
    "no longer redacted": (
        ["run_redacted", "scan_redacted"],
        said(lambda c: c.update(redacted=False)),
        "stated.json|not what pack writes",
    ),
    "redacted": (BOTH, said(lambda c: c.update(redacted=True)), "stated.json|not what pack"),
    "another version": (BOTH, said(lambda c: c.update(version=2)), "of version 2"),
    "another format": (BOTH, said(lambda c: c.update(format="else")), "is no anisomem"),
    "more in the manifest": (BOTH, said(lambda c: c.update(note="well done")), "manifest.json"),
    "a file more": (BOTH, lambda f: f | {"extra.md": b"more"}, "'extra.md', which pack does not"),
    "a file called as others are meanwhile": (
        ["scan"],
        lambda f: f | {".again.zip": b"x", "again.zip": b"x"},
        "again.zip', which pack does not",
    ),
    "a file below a file": (
        ["scan"],
        lambda f: f | {"README.md/more": b"x"},
        "cannot be unpacked",
    ),
    "a page more": (
        BOTH,
        lambda f: f | {f"{find(f, 'config.yaml').rpartition('/')[0]}/report.html": b"more"},
        "report.html', which pack does not",
    ),
    "pictures in a redacted one": (
        ["run_redacted"],
        lambda f: f | {f"{find(f, 'config.yaml').rpartition('/')[0]}/gallery.npz": b"more"},
        "gallery.npz', which pack does not",
    ),
    "pictures that are none": (
        BOTH,
        lambda f: f | {next(n for n in f if n.endswith(".npz")): b"%PDF"},
        "npz' does not have the pictures",
    ),
    "a table less": (
        ["run"],
        lambda f: {n: c for n, c in f.items() if n != "more.md"},
        "'more.md'",
    ),
    "settings less": (
        BOTH,
        lambda f: {n: c for n, c in f.items() if not n.endswith("config.yaml")},
        "config.yaml is missing",
    ),
    "prompts less": (
        BOTH,
        lambda f: {n: c for n, c in f.items() if not n.endswith("prompts.parquet")},
        "prompts.parquet",
    ),
    "a run less": (
        ["cases"],
        lambda f: {n: c for n, c in f.items() if not n.startswith(find(f, "config.yaml")[:-11])},
        "which pack does not write|and its rows make|it has",
    ),
    "no run": (
        ["run"],
        lambda f: {n: c for n, c in f.items() if not n.startswith("runs/")},
        "has no run and no scan",
    ),
    "seeds": (BOTH, settings(lambda c: c.update(seeds=[1])), "says another seeds"),
    "precision": (BOTH, settings(lambda c: c["model"].update(dtype="float16")), "model.dtype"),
    "a detector's setting": (
        BOTH,
        settings(lambda c: c["detector"]["wen"].update(steps=5)),
        "holds 0 noise samples of wen|differs in components",
    ),
    "scores stated that can be computed": (
        ["run"],
        lambda f: (
            f
            | {
                f"{find(f, 'config.yaml').rpartition('/')[0]}/stated.json": json.dumps(
                    {
                        "detectors": [
                            {
                                "name": "wen",
                                "n": 1,
                                "refused": None,
                                "said": None,
                                "costs": "",
                                "compares": False,
                                "scores": {"42": [0.0] * 24, "51": [0.0] * 24},
                            }
                        ]
                    }
                ).encode()
            }
        ),
        "must state the scores of nothing alone|not what pack writes",
    ),
    "stated scores": (
        ["run_redacted"],
        edit("stated.json", lambda c: re.sub(rb"\[-?\d\.\d+", b"[99.5", c, count=1)),
        "and its rows make",
    ),
    "stated scores of fewer": (
        ["run_redacted"],
        edit("stated.json", lambda c: re.sub(rb"\[-?\d\.\d+, ", b"[", c, count=1)),
        "other numbers of scores",
    ),
    "stated nonsense": (["run_redacted"], edit("stated.json", lambda c: b"[" * 10**5), "stated"),
}
CASES = [(what, name) for what, (names, _, _) in FORGED.items() for name in names]


@pytest.mark.parametrize(("what", "name"), CASES, ids=[f"{w}, {n}" for w, n in CASES])
def test_a_forged_packet_is_refused_although_its_manifest_agrees(
    what, name, packets, tmp_path, refused
):
    _, forge, told = FORGED[what]
    forged = forge(contents(getattr(packets, name)))
    said_of_it = refused(written(listed(forged), tmp_path / "forged.zip"))
    assert re.search(told, said_of_it), said_of_it


@pytest.mark.parametrize("name", BOTH)
def test_a_changed_file_is_named_where_the_manifest_is_as_it_was(name, packets, tmp_path, refused):
    whole = contents(getattr(packets, name))
    for end in (".md", ".csv", "config.yaml", "prompts.parquet", "identity.json", ".npz"):
        file = find(whole, end)
        content = bytearray(whole[file])
        content[len(content) // 2] ^= 1
        forged = written(whole | {file: bytes(content)}, tmp_path / "forged.zip")
        assert f"{file!r} is not what was packed" in refused(forged)
    forged = written(whole | {file: whole[file] + b"x"}, tmp_path / "forged.zip")
    assert f"{file!r} has" in refused(forged) or "its manifest says" in refused(forged)


def test_files_added_removed_and_renamed_are_named(packets, tmp_path, refused):
    whole, out = contents(packets.scan), tmp_path / "forged.zip"
    assert "has 'extra.md', which its manifest does not list" in refused(
        written(whole | {"extra.md": b""}, out)
    )
    gone = {n: c for n, c in whole.items() if n != "README.md"}
    assert "lacks 'README.md', which its manifest lists" in refused(written(gone, out))
    renamed = gone | {"README.txt": whole["README.md"]}
    said_of_it = refused(written(renamed, out))
    assert "'README.txt'" in said_of_it and "'README.md'" in said_of_it
    gone = {n: c for n, c in whole.items() if n != archive.MANIFEST}
    assert "has no manifest.json" in refused(written(gone, out))
    assert "manifest.json is not what pack writes" in refused(
        written(whole | {archive.MANIFEST: b"[" * 10**5}, out)
    )


def test_any_changed_byte_is_seen(packets, tmp_path, refused):
    content = packets.scan.read_bytes()
    generator = np.random.default_rng(0)
    for at in generator.integers(0, len(content), 12).tolist():
        changed = bytearray(content)
        changed[at] ^= 1 << int(generator.integers(8))
        (tmp_path / "changed.zip").write_bytes(changed)
        refused(tmp_path / "changed.zip")
