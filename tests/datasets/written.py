"""Small prompt files in every format."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ROWS = [
    {"id": "x", "prompt": "a cat; a dog", "label": "memorized", "cluster": 4, "block": "B1"},
    {"id": "y", "prompt": "naïve", "label": "partial", "cluster": 5, "block": "B2"},
    {"id": "z", "prompt": 'she said "no"', "label": "not_memorized", "cluster": 6, "block": "B3"},
]


def png(colour, form="PNG"):
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(stream, form)
    return stream.getvalue()


def written(folder, suffix, rows=ROWS, delimiter=","):
    file = folder / f"mine{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif suffix == ".jsonl":
        file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    else:
        quoted = [
            ['"' + str(cell).replace('"', '""') + '"' for cell in row.values()] for row in rows
        ]
        text = "\n".join(delimiter.join(cells) for cells in [list(rows[0]), *quoted])
        file.write_text(text + "\n", "utf-8-sig")  # as spreadsheets write it
    return file


TEXTS = ["a red cat", "two dogs", "an owl", "blue sky"]


def saved(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    content = text if isinstance(text, bytes) else text.encode()
    file.write_bytes(gzip.compress(content, mtime=0) if file.suffix.lower() == ".gz" else content)
    return str(file)


def rows(**columns):
    """Four prompts, the first two memorized, with more columns."""
    cells = {"prompt": TEXTS, "label": [1, 1, 0, 0], **columns}
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


CSV = "prompt,label\n" + "".join(f"{row['prompt']},{row['label']}\n" for row in rows())
JSONL = "\n".join(json.dumps(row) for row in rows())
