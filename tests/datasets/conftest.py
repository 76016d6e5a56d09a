"""Published prompt sets in small: made-up files of the cards' shape, pinned by cards of their own.

Every caption has words of its own, so clusters are known; the traps of the real files are in.
"""

import csv
import io
import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.datasets import cards

QUOTED = '"Watch: ""Lifted Up (1985)"""'
TAGGED = "Stills from <i>Oblivion</i> &amp; more"
UNICODE = "naïve\u2028café 15′"


def word(number):
    """A word of letters, another for every number."""
    return "".join(chr(ord("a") + int(digit)) for digit in f"{number:06d}")


def captions(start, count):
    return [f"{word(2 * i)} {word(2 * i + 1)}" for i in range(start, start + count)]


SD1 = captions(0, 500)
SD1[:3] = [QUOTED, TAGGED, UNICODE]
SD1[10:40] = [f"Shaw Floors {caption} 00{i}" for i, caption in enumerate(SD1[10:40])]
SD1[41] = SD1[40] + " 15"  # a near-duplicate
SD2 = [*SD1[200:372], *captions(1000, 46), "Unicorn / Rainbow Shirt"]
OTHERS = captions(2000, 500)
GPT = captions(3000, 500)
LAION = captions(4000, 500)
COCO = captions(5000, 9966)
COCO += COCO[:34]
TRIGGERS = captions(20000, 3000)


def lines(rows, end=""):
    return "\n".join(rows) + end


def objects(rows, end="", **more):
    made = [{"caption": c, "url": f"https://pictures/{c}", **more} for c in rows]
    return lines([json.dumps(row) for row in made], end)


def table(header, rows, delimiter=";"):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["", *header])
    writer.writerows([[i, *row] for i, row in enumerate(rows)])
    return stream.getvalue()


def nemo():
    rows = []
    for i, caption in enumerate(SD1):
        score = ["", 0.9, 0.2, 0.5][i % 4]
        kind = "VM" if score == 0.9 else "TM"
        rows.append([caption, f"https://pictures/{caption}", kind, score and score / 2, score, i])
    return table(["Caption", "URL", "type", "mean_sscd", "max_sscd", "Index"], rows)


CONTENT = {
    "sd1_mem.txt": lines(SD1),
    "sd1_mem.jsonl": objects(SD1),
    "sd1_nmem.txt": lines(OTHERS),
    "sd2_mem.txt": lines([*SD2[:-1], "Unicorn Rainbow Shirt"]),
    "sd2_mem.jsonl": objects(SD2[-1:] + SD2[:-1], overfit_type="TV"),
    "sd2_nmem.txt": lines(OTHERS),
    "RV_mem.txt": lines([*SD1[:85], *captions(6000, 5)]),
    "RV_nmem.txt": lines(OTHERS[:90]),
    "sd1_mem345.txt": lines(SD1[:345], "\n"),
    "sd2_mem219.txt": lines(SD2, "\n"),
    "group_nomem500.txt": lines(GPT),
    "memorized_laion_prompts.csv": nemo(),
    "unmemorized_laion_prompts.csv": table(
        ["Caption", "URL", "Index"], [[c, f"https://laion/{c}", i] for i, c in enumerate(LAION)]
    ),
    "coco2014_val_10000.csv": table(
        ["Caption", "URL", "Index"], [[c, "", i] for i, c in enumerate(COCO)]
    ),
    "SD1_final.csv": table(
        ["prompt", "urls"],
        [[c, str([f"https://shared/{i // 10}"])] for i, c in enumerate(TRIGGERS)],
        ",",
    ),
}


#: Of the memorized 500 Webster labels three N, the others TV, MV and RV; 110 more N are his own.
WEBSTER = [
    *({"caption": caption, "kind": "N"} for caption in SD1[3:6]),
    *(
        {"caption": caption, "kind": ("TV", "MV", "RV")[i % 3]}
        for i, caption in enumerate(SD1[100:487])
    ),
    *({"caption": caption, "kind": "N"} for caption in captions(7000, 110)),
]


def webster(rows=WEBSTER):
    """Webster's ground truth as he publishes it, with columns that nobody reads."""
    stream = io.BytesIO()
    written = [
        {
            "caption": row["caption"],
            "url": f"https://webster/{i}",
            "overfit_type": row["kind"],
            "gen_seeds": [1, 2],
            "mse_real_gen": 0.5,
        }
        for i, row in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(written), stream)
    return stream.getvalue()


@pytest.fixture
def pinned(monkeypatch):
    """Cards that pin the made-up files; returns their content by basename."""
    content = {name: text.encode() for name, text in CONTENT.items()}
    content["sdv1_bb_edge_groundtruth.parquet"] = webster()
    read = cards.read

    def repinned(name):
        card = read(name)
        sources = []
        for source in card.sources:
            made = content[Path(source.path).name]
            pins = {"bytes": len(made), "sha256": sha256(made).hexdigest()}
            sources.append(replace(source, **pins))
        return replace(card, sources=sources)

    monkeypatch.setattr(cards, "read", repinned)
    return content


@pytest.fixture
def made(pinned, tmp_path):
    """A folder with the made-up files, all in one place."""
    for name, content in pinned.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def real():
    """The folder of the real files."""
    if not (folder := os.environ.get("ANISOMEM_DATA")):
        pytest.skip("the published files are not at hand (ANISOMEM_DATA)")
    return folder


@pytest.fixture
def rng():
    return np.random.default_rng(0)
