"""Published files of prompts are read as they are: made-up ones always, and the real ones."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from anisomem.datasets import files
from anisomem.errors import UserError

NEMO = (
    ";Caption;URL;type;mean_sscd;max_sscd;Index\n"
    "0;The <i>first</i>, a caption;https://a/1.jpg;VM;0.8;0.9;17\n"
    '1;"""Quoted""; with a semicolon";https://a/2.jpg;TM;;;18\n'
)
OTHERS = ";Caption;URL;Index\n0;a pagoda;https://b/1.jpg;396\n1;a cat;;397\n"
WEN = "".join(
    json.dumps({"caption": text, "index": i, "url": f"https://c/{i}"}) + "\n"
    for i, text in enumerate(["The Podcast", "café – menu"])
)
MEMBENCH = (
    ",prompt,urls\n"
    "0,fire us army flag,['https://d/1.jpg']\n"
    "1,wooden green chair,\"['https://d/2.jpg', 'https://d/1.jpg']\"\n"
)


@pytest.fixture
def load(tmp_path):
    """Loads two lists of which the first is memorized."""

    def two(name, memorized, others=OTHERS):
        (tmp_path / name).write_text(memorized, "utf-8")
        (tmp_path / "others.csv").write_text(others, "utf-8")
        return files.load(memorized=str(tmp_path / name), others=str(tmp_path / "others.csv"))

    return two


def test_nemos_lists(load):
    prompts = load("memorized_laion_prompts.csv", NEMO)
    texts = ["The <i>first</i>, a caption", '"Quoted"; with a semicolon', "a pagoda", "a cat"]
    assert list(prompts.texts) == texts
    assert prompts.kinds == ["VM", "TM", "unknown", "unknown"]
    assert prompts.urls == [["https://a/1.jpg"], ["https://a/2.jpg"], ["https://b/1.jpg"], []]
    np.testing.assert_array_equal(prompts.max_sscd, [0.9, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(prompts.mean_sscd, [0.8, np.nan, np.nan, np.nan])
    assert prompts.labels.tolist() == [1, 1, 0, 0]


def test_wens_list_and_that_with_websters_kinds(load):
    prompts = load("sdv1_500_memorized.jsonl", WEN)
    assert list(prompts.texts[:2]) == ["The Podcast", "café – menu"]
    assert prompts.urls[:2] == [["https://c/0"], ["https://c/1"]]
    with_kind = WEN.replace("}", ', "overfit_type": "TV"}')
    assert load("sd2_mem.jsonl", with_kind).kinds[:2] == ["TV", "TV"]


def test_membenchs_list_whose_prompts_share_pictures(load):
    prompts = load("SD1_final.csv", MEMBENCH)
    assert prompts.urls[1] == ["https://d/2.jpg", "https://d/1.jpg"]
    assert prompts.clusters[0] == prompts.clusters[1]  # of one picture, and of no word alike
    assert len(set(prompts.clusters.tolist())) == 3


def test_a_list_without_labels_says_how_it_is_given(tmp_path):
    (tmp_path / "a.csv").write_text(NEMO)
    with pytest.raises(UserError, match=r"NeMo's .* give dataset\.memorized=FILE and"):
        files.load(str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    "heading", ["Caption;label", ";Caption;URL;type;Index", ";Caption;URL;Index;score"]
)
def test_a_heading_is_taken_for_another_in_a_known_file_alone(load, heading):
    row = ";".join(["1"] * len(heading.split(";")))
    with pytest.raises(UserError, match=r"dataset\.columns\.prompt=Caption"):
        load("mine.csv", f"{heading}\n{row}\n")


def test_what_the_user_names_goes_before(tmp_path):
    (tmp_path / "a.csv").write_text(NEMO)
    (tmp_path / "b.csv").write_text(OTHERS.replace(";;", ";https://b/2.jpg;"))
    lists = {"memorized": str(tmp_path / "a.csv"), "others": str(tmp_path / "b.csv")}
    prompts = files.load(**lists, columns={"id": "Index", "prompt": "URL"})
    assert list(prompts.texts[:2]) == ["https://a/1.jpg", "https://a/2.jpg"]
    assert list(prompts.ids) == ["17", "18", "396", "397"]


class TestRealFiles:
    """The published files, where they are at hand."""

    def at(self, real, name):
        found = sorted(Path(real).rglob(name))
        return str(found[0]) if found else pytest.skip(f"{name} is not at hand")

    def test_nemos(self, real):
        memorized = self.at(real, "memorized_laion_prompts.csv")
        prompts = files.load(
            memorized=memorized, others=self.at(real, "unmemorized_laion_prompts.csv")
        )
        rows = list(csv.DictReader(io.StringIO(Path(memorized).read_text("utf-8")), delimiter=";"))
        assert list(prompts.texts[:500]) == [row["Caption"] for row in rows]
        assert [prompts.kinds[:500].count(kind) for kind in ("VM", "TM")] == [112, 388]
        assert np.isnan(prompts.max_sscd[:500]).sum() == 13 and len(prompts) == 1000

    @pytest.mark.parametrize(
        "name", ["sdv1_500_memorized.jsonl", "sd1_mem.jsonl", "sd2_mem.jsonl"]
    )
    def test_wens_and_jeons(self, real, name):
        memorized = self.at(real, name)
        prompts = files.load(
            memorized=memorized, others=self.at(real, "unmemorized_laion_prompts.csv")
        )
        rows = [json.loads(line) for line in Path(memorized).read_text("utf-8").splitlines()]
        assert list(prompts.texts[: len(rows)]) == [row["caption"] for row in rows]
        assert prompts.kinds[0] == rows[0].get("overfit_type", "unknown")

    def test_membenchs(self, real):
        prompts = files.load(
            memorized=self.at(real, "SD1_final.csv"),
            others=self.at(real, "unmemorized_laion_prompts.csv"),
        )
        assert int(prompts.labels.sum()) == 3000
        assert len({url for urls in prompts.urls[:3000] for url in urls}) == 151
        assert len(set(prompts.clusters[:3000].tolist())) == 50
