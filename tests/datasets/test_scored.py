"""Tables of scores from anywhere are read within bounds, or refused in one line."""

import gzip
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anisomem.datasets import scored
from anisomem.errors import UserError

HEAD = "label,mine\n"
ROWS = "1,0.5\n1,0.4\n0,0.1\n0,0.2\n"


def write(folder, text, name="scores.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_columns_that_mean_nothing_else_are_scores(tmp_path):
    file = write(
        tmp_path,
        "id,Label,mine,cluster,prompt,theirs\n"
        "a,memorized,.5,x,red cat,-1e3\nb,other,+2.,x,dog,0\n",
    )
    read = scored.load(file)
    assert dict(read.scores) == {"mine": [0.5, 2.0], "theirs": [-1000.0, 0.0]}
    assert read.prompts.ids == ["a", "b"] and read.prompts.texts == ["red cat", "dog"]
    assert read.prompts.labels.tolist() == [1, 0] and read.prompts.clusters.tolist() == [0, 0]
    assert read.clustered and read.prompts.name == "scores" and read.model == ""
    assert list(scored.load(file, ["theirs"]).scores) == ["theirs"]


def test_without_clusters_near_duplicates_share_one(tmp_path):
    file = write(tmp_path, "label,prompt,s\n1,a red fox,1\n0,a red fox,2\n0,something else,3\n")
    assert scored.load(file).prompts.clusters.tolist() == [0, 0, 1]
    plain = scored.load(write(tmp_path, HEAD + ROWS))
    assert not plain.clustered and plain.prompts.clusters.tolist() == [0, 1, 2, 3]


def test_rows_without_words_are_no_near_duplicates(tmp_path):
    rows = [f"{i % 2},cap-{i:03d},,{i}" for i in range(6)]
    file = write(tmp_path, "\n".join(["label,id,prompt,s", *rows, "0,cap-006,a red fox,1", ""]))
    read = scored.load(file).prompts
    assert len(set(read.clusters.tolist())) == 7
    assert read.texts[0] == "cap-000" and read.texts[-1] == "a red fox"


def test_a_semicolon_file_may_have_commas_in_its_headings(tmp_path):
    names = [f"wen_{i}, n={i}" for i in range(1, 9)]
    head = ";".join(["label", "prompt", *names])
    lines = [";".join([label, "a fox", *map(str, range(8))]) for label in ("1", "0", "1")]
    read = scored.load(write(tmp_path, "\n".join([head, *lines, ""])))
    assert list(read.scores) == names and read.scores[names[3]] == [3, 3, 3]


def test_decimals_are_numbers(tmp_path):
    cells = [Decimal("0.5"), Decimal("1e-7"), Decimal(2)]
    pq.write_table(pa.table({"label": [1, 0, 0], "s": cells}), tmp_path / "a.parquet")
    assert scored.load(tmp_path / "a.parquet").scores["s"] == [0.5, 1e-7, 2]


def test_every_kind_of_table_says_the_same(tmp_path):
    frame = pd.DataFrame({"label": [1, 1, 0, 0], "mine": [0.5, 0.4, 0.1, 0.2]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "a.json", orient="records")
    for name in ("a.csv", "a.tsv", "a.csv.gz", "a.parquet", "a.jsonl", "a.json"):
        read = scored.load(tmp_path / name)
        assert np.array_equal(read.scores["mine"], frame["mine"]), name
        assert np.array_equal(read.prompts.labels, frame["label"]), name


def test_the_index_that_pandas_writes_is_no_score(tmp_path):
    frame = pd.DataFrame({"label": [1, 0], "mine": [2.5, 1]})
    frame.to_csv(tmp_path / "a.csv")
    assert list(scored.load(tmp_path / "a.csv").scores) == ["mine"]
    pd.read_csv(tmp_path / "a.csv").to_csv(tmp_path / "b.csv", index=False)
    assert list(scored.load(tmp_path / "b.csv").scores) == ["mine"]


def test_partial_prompts_are_left_out_and_said(tmp_path):
    read = scored.load(write(tmp_path, HEAD + ROWS + "partial,9\n"))
    assert len(read.prompts) == 4 == len(read.scores["mine"])
    assert read.prompts.cautions == ["1 of 5 prompts left out, labelled partial"]


def test_the_file_that_our_own_command_writes_is_read(tmp_path):
    file = write(
        tmp_path,
        'prompts,model,id,prompt,label,block,"wen, n=4","wen, n=4, rank"\n'
        "set,sd14,a,red,memorized,x,0.5,1\nset,sd14,b,blue,other,x,0.4,2\n",
    )
    read = scored.load(file)
    assert list(read.scores) == ["wen, n=4"] and read.model == "sd14"
    assert read.prompts.name == "set" and read.prompts.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "more memorized; it is empty"),
        ("label\n1\n", "has no column of scores"),
        ("mine\n1\n", "has no column label"),
        (HEAD, "has no rows"),
        (HEAD + "1,x\n", "line 2: the score 'mine' is 'x', expected a finite number"),
        (HEAD + "1,nan\n", "the score 'mine' is 'nan'"),
        (HEAD + "1,\n", "line 2: no score 'mine'"),
        (HEAD + "1,inf\n", "the score 'mine' is 'inf'"),
        (HEAD + "1,1e999\n", "the score 'mine' is '1e999'"),
        (HEAD + "1,1_000\n", "the score 'mine' is '1_000'"),
        (HEAD + "1,\u0661\n", "the score 'mine' is"),
        (HEAD + "1,True\n", "the score 'mine' is 'True'"),
        (HEAD + "2,1\n", "no label named '2'"),
        (HEAD + ",1\n", "no label; expected"),
        (HEAD + "0,1\n-1,1\n", "the labels 0 and -1"),
        (HEAD + "1,1,1\n", "3 cells, expected 2"),
        ("label,mine,mine\n1,1,1\n", "2 columns named 'mine'"),
        ("label,not_memorized\n1,1\n", None),
        ("id,label,mine\na,1,1\na,0,1\n", "repeats an id of"),
        ("model,label,mine\na,1,1\nb,0,1\n", "the model 'a' and 'b'"),
        ("prompts,label,mine\na,1,1\nb,0,1\n", "the prompts 'a' and 'b'"),
        (HEAD + "1,1\n1,1\n", "no other prompts"),
        ("label,prompt,mine\n1,a\0b,1\n", "NUL"),
        ("label,mine,Clusters\n1,1,7\n", "a column 'Clusters', which is called 'cluster'"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, said):
    file = write(tmp_path, text)
    with pytest.raises(UserError) as refused:
        scored.load(file)
    assert "\n" not in str(refused.value) and (said is None or said in str(refused.value))


def test_labels_are_no_scores(tmp_path):
    file = write(tmp_path, HEAD + ROWS)
    with pytest.raises(UserError, match="'label' is the labels, which are no scores"):
        scored.load(file, ["mine", "label"])


def test_files_that_are_none_are_one_line(tmp_path):
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    for file in (tmp_path / "missing.csv", folder, write(tmp_path, HEAD, "scores.pkl")):
        with pytest.raises(UserError) as refused:
            scored.load(file)
        assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="did you mean 'mine'"):
        scored.load(write(tmp_path, HEAD + ROWS), ["mime"])
    rows = [{"label": 1, "mine": 1}, {"label": 0}]
    with pytest.raises(UserError, match="row 2: no score 'mine'"):
        scored.load(write(tmp_path, json.dumps(rows), "a.json"))
