"""Published sets: parsed as their authors mean them, from verified files alone."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from anisomem.datasets import cards, published
from anisomem.errors import UserError

from .conftest import COCO, GPT, LAION, OTHERS, QUOTED, SD1, SD2, TAGGED, TRIGGERS, UNICODE

VARIANTS = {
    "sd14_webster500": {
        "all": (500, 500),
        "one_per_cluster": (499, 500),
        "without_largest_family": (470, 500),
        "head": (345, 500),
        "tail": (155, 500),
        "VM": (125, 500),
        "TM": (375, 500),
        "against_coco": (500, 200),
        "against_lexica": (500, 100),
        "against_tuxemon": (500, 100),
        "against_gpt4": (500, 100),
        "against_laion": (500, 500),
        "against_hard_negatives": (497, 113),
    },
    "sd20_webster219": {
        "all": (219, 500),
        "one_per_cluster": (219, 500),
        "TV": (219, 500),
        "against_gpt4": (219, 100),
        "against_laion": (219, 500),
    },
    "realvis_90": {"all": (90, 90), "VM": (21, 90), "against_laion": (90, 500)},
    "memattn_sd14": {"all": (345, 500), "one_per_cluster": (344, 500), "VM": (86, 500)},
    "memattn_sd20": {"all": (219, 500), "against_laion": (219, 500)},
    "nemo_laion": {"all": (500, 500), "head": (345, 500), "tail": (155, 500), "TM": (375, 500)},
    "membench_sd14": {
        "all": (3000, 3000),
        "one_per_cluster": (300, 3000),
        "without_largest_family": (2990, 3000),
        "against_laion": (3000, 500),
    },
}


def counts(prompts):
    return int(prompts.labels.sum()), int((prompts.labels == 0).sum())


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_have_what_they_say(made, name):
    whole = published.load(name, str(made))
    card = cards.read(name)
    assert counts(whole) == (card.memorized, card.others)
    for variant, expected in VARIANTS[name].items():
        prompts = published.load(name, str(made), variant)
        assert counts(prompts) == expected
        assert prompts.name == (name if variant == "all" else f"{name}-{variant}")
        if variant not in (
            "against_laion",
            "against_hard_negatives",
        ):  # ids and clusters are those of the whole set
            at = [whole.ids.index(i) for i in prompts.ids]
            assert at == sorted(at)
            assert prompts.texts == [whole.texts[i] for i in at]
            np.testing.assert_array_equal(prompts.clusters, whole.clusters[at])
    with pytest.raises(UserError, match="did you mean 'one_per_cluster'"):
        published.load(name, str(made), "one_per_cluser")


def test_variants_keep_what_they_name(made):
    def chosen(variant, label):
        prompts = published.load("sd14_webster500", str(made), variant)
        return [t for t, y in zip(prompts.texts, prompts.labels, strict=True) if y == label]

    assert chosen("head", 1) == SD1[:345] and chosen("tail", 1) == SD1[345:]
    assert chosen("against_lexica", 0) == OTHERS[200:300]
    assert chosen("against_gpt4", 0) == OTHERS[400:]
    assert chosen("against_laion", 0) == LAION
    assert chosen("VM", 1) == SD1[1::4]
    assert chosen("without_largest_family", 1) == SD1[:10] + SD1[40:]


def test_texts_are_verbatim_and_cleaned_on_demand(made):
    prompts = published.load("sd14_webster500", str(made))
    assert prompts.texts == SD1 + OTHERS
    assert published.load("nemo_laion", str(made)).texts == SD1 + LAION
    clean = published.load("sd14_webster500", str(made), clean=True)
    assert clean.name == "sd14_webster500-clean"
    assert clean.ids == prompts.ids and clean.families == prompts.families
    assert clean.texts[:3] == [
        'Watch: "Lifted Up (1985)"',
        "Stills from Oblivion & more",
        "naïve café 15′",
    ]
    assert tuple(prompts.texts[:3]) == (QUOTED, TAGGED, UNICODE)
    assert clean.texts[3:] == prompts.texts[3:]


@pytest.mark.parametrize(
    ("verbatim", "clean"),
    [
        ('"""Listen, """"Buzzkill(er)"""""""', 'Listen, "Buzzkill(er)"'),
        ('"Listen, ""Buzzkill(er)"""', 'Listen, "Buzzkill(er)"'),
        ('"Daft" and "Punk"', '"Daft" and "Punk"'),
        ("Citrus Fruits&quot  by", 'Citrus Fruits" by'),
        ("< i > secret diary < / i >", "secret diary"),
        ("5 < 6 > 4 & a<3", "5 < 6 > 4 & a<3"),
        ("plain", "plain"),
    ],
)
def test_cleaning(verbatim, clean):
    assert published.cleaned(verbatim) == clean


def test_captions_are_joined_by_their_words_not_their_lines(made):
    prompts = published.load("sd20_webster219", str(made))
    memorized = dict(zip(prompts.texts[:219], prompts.urls[:219], strict=True))
    assert memorized["Unicorn Rainbow Shirt"] == ["https://pictures/Unicorn / Rainbow Shirt"]
    assert all(memorized[c] == [f"https://pictures/{c}"] for c in SD2[:-1])
    assert set(prompts.kinds[:219]) == {"TV"}
    for captions in (["a", "b"], ["a", "a"]):
        with pytest.raises(UserError, match="no row for the caption"):
            published.joined(captions, [{"caption": "a"}, {"caption": "c"}])


def test_what_each_prompt_carries(made):
    prompts = published.load("nemo_laion", str(made))
    assert prompts.kinds[:4] == ["TM", "VM", "TM", "TM"]
    np.testing.assert_array_equal(prompts.max_sscd[:4], [np.nan, 0.9, 0.2, 0.5])
    np.testing.assert_array_equal(prompts.mean_sscd[:4], [np.nan, 0.45, 0.1, 0.25])
    assert np.isnan(prompts.max_sscd[500:]).all()
    assert prompts.urls[1] == [f"https://pictures/{TAGGED}"]
    assert prompts.urls[500] == [f"https://laion/{LAION[0]}"]
    assert prompts.families[1] == "headline in tags" and prompts.families[12] == "Shaw Floors"
    blocks = published.load("sd14_webster500", str(made)).blocks
    assert blocks[344:346] == ["LAION head", "LAION tail"]
    assert [blocks[500 + i] for i in (199, 200, 299, 300, 399, 400)] == [
        "COCO", "Lexica", "Lexica", "Tuxemon", "Tuxemon", "GPT-4",
    ]  # fmt: skip
    assert published.load("memattn_sd14", str(made)).texts[345:] == GPT
    assert published.load("memattn_sd14", str(made)).kinds[1] == "VM"
    assert published.load("realvis_90", str(made)).kinds[:90].count("unknown") == 5


def test_membench_draws_distinct_captions_with_a_seed(made):
    first, again, other = (
        published.load("membench_sd14", str(made), seed=seed) for seed in (0, 0, 1)
    )
    assert first.texts[:3000] == TRIGGERS
    assert first.texts == again.texts and first.ids == again.ids
    assert first.texts != other.texts
    drawn = first.texts[3000:]
    assert len(set(drawn)) == 3000 and set(drawn) <= set(COCO)
    rows = [int(key.rsplit("-", 1)[1]) - 1 for key in first.ids[3000:]]
    assert [COCO[row] for row in rows] == drawn
    # Ten triggers share each picture and nothing else.
    assert first.clusters[:3000].tolist() == np.repeat(np.arange(300), 10).tolist()
    assert first.urls[25] == ["https://shared/2"]
    part = published.load("membench_sd14", str(made), "against_laion")
    assert part.cautions == first.cautions == cards.read("membench_sd14").cautions


def test_model_swap_pairs_the_same_prompts(made):
    sd14, sd20 = (
        published.load("model_swap", str(made), memorized_by=model) for model in ("sd14", "sd20")
    )
    assert (counts(sd14), counts(sd20)) == ((328, 47), (47, 328))
    assert (sd14.name, sd20.name) == ("model_swap-sd14", "model_swap-sd20")
    assert sd14.ids == sd20.ids and sd14.texts == sd20.texts
    assert (sd14.labels + sd20.labels == 1).all()
    assert set(sd14.texts) == set(SD1) ^ {*SD2[:-1], "Unicorn Rainbow Shirt"}
    with pytest.raises(UserError, match="did you mean 'sd20'"):
        published.load("model_swap", str(made), memorized_by="sd2")


def test_gustavosta_takes_a_hub_dataset(made, tmp_path):
    from datasets import Dataset

    folder = tmp_path / "hub"
    folder.mkdir()
    prompts = [f"lexica {i} {word}" for i, word in enumerate(GPT * 2)]
    Dataset.from_dict({"Prompt": prompts}).to_parquet(folder / "test.parquet")
    loaded = published.load("gustavosta", str(made), hub=str(folder))
    assert loaded.texts == SD1 + prompts[:500]
    assert set(loaded.blocks[500:]) == {"Lexica"}

    Dataset.from_dict({"text": prompts}).to_parquet(folder / "test.parquet")
    with pytest.raises(UserError, match="columns text; expected 500 and Prompt"):
        published.load("gustavosta", str(made), hub=str(folder))


def test_any_layout_and_only_the_right_content(pinned, tmp_path):
    right = tmp_path / "right"
    for source in cards.read("realvis_90").sources:
        place = source.place(right)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(pinned[Path(source.path).name])
    assert counts(published.load("realvis_90", str(right))) == (90, 90)

    file = next(right.rglob("RV_nmem.txt"))
    content = file.read_bytes()
    file.write_bytes(content.replace(b"a", b"b", 1))
    with pytest.raises(UserError, match=r"RV_nmem.txt has another content than its card says"):
        published.load("realvis_90", str(right))
    (right / "copy").mkdir()  # a right copy elsewhere serves
    (right / "copy" / "RV_nmem.txt").write_bytes(content)
    assert counts(published.load("realvis_90", str(right))) == (90, 90)

    with pytest.raises(UserError, match="run anisomem fetch realvis_90") as caught:
        published.load("realvis_90", str(tmp_path / "nowhere"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"paths.data must be a folder"):
        published.load("realvis_90", str(file))
    with pytest.raises(UserError, match="did you mean 'realvis_90'"):
        published.load("realvis90", str(right))


def test_rows_are_counted(made, pinned):
    card = cards.read("realvis_90")
    short = "\n".join(OTHERS[:89]).encode()
    pinned["RV_nmem.txt"] = short  # a file whose checksum is right and whose rows are not
    (made / "RV_nmem.txt").write_bytes(short)
    assert card.sources[2].rows == 90
    with pytest.raises(UserError, match=r"RV_nmem.txt has 89 rows, its card says 90"):
        published.load("realvis_90", str(made))


def test_a_run_on_a_published_set_needs_only_its_name(made, capsys, tmp_path):
    from anisomem.cli.main import main

    command = [
        "run", "dataset=realvis_90", "dataset.variant=VM", "model=testbed_epsilon",
        "detector=[text_only,prompt_length]", f"paths.data={made}", f"runs={tmp_path / 'runs'}",
        "draws=100", "timing_repeats=0",
    ]  # fmt: skip
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "model testbed_epsilon, prompts realvis_90-VM\n" in out and "| text_only" in out
    assert main([*command, "dataset.seed=1"]) == 2
    assert "seed" in capsys.readouterr().err
    assert main([*command, "paths.dat=x"]) == 2
    assert "dat" in capsys.readouterr().err


class TestRealFiles:
    """What only the real files can show."""

    def test_labels_and_overlaps(self, real):
        sd14 = published.load("sd14_webster500", real)
        sd20 = published.load("sd20_webster219", real)
        realvis = published.load("realvis_90", real)
        head = published.load("memattn_sd14", real)
        mem14, mem20 = set(sd14.texts[:500]), set(sd20.texts[:219])
        assert (len(mem14), len(mem20), len(mem14 & mem20)) == (500, 219, 172)
        assert sd14.texts[:345] == head.texts[:345]
        assert len(mem14.intersection(realvis.texts[:90])) == 85
        assert sd14.texts[500:] == sd20.texts[219:]
        assert sd14.texts[500:590] == realvis.texts[90:]
        assert counts(published.load("model_swap", real)) == (328, 47)
        assert counts(published.load("sd14_webster500", real, "VM")) == (112, 500)
        assert counts(published.load("sd20_webster219", real, "MV")) == (4, 500)
        assert sum(k == "VM" for k in realvis.kinds) == 73

    def test_vm_is_a_threshold(self, real):
        nemo = published.load("nemo_laion", real)
        measured = ~np.isnan(nemo.max_sscd)
        assert measured.sum() == 487
        above = nemo.max_sscd[measured] > 0.7
        assert above.tolist() == [nemo.kinds[i] == "VM" for i in np.flatnonzero(measured)]

    def test_families(self, real):
        families = published.load("sd14_webster500", real).families[:500]
        expected = {
            "Shaw Floors": 148, "phone case": 44, "throw pillow": 39, "headline in tags": 34,
            "backpack view": 28, "Aero wheel": 25, "area rug": 24, "Designart": 22,
            "pencil-pleat curtain": 15, "T-shirt": 14, "car-seat cover": 13,
        }  # fmt: skip
        assert {family: families.count(family) for family in expected} == expected

    def test_every_row_against_a_plain_reading(self, real):
        def of(name):
            return next(Path(real).rglob(name)).read_text("utf-8")

        sd14 = published.load("sd14_webster500", real)
        assert sd14.texts == of("sd1_mem.txt").split("\n") + of("sd1_nmem.txt").split("\n")
        rows = [json.loads(line) for line in of("sd1_mem.jsonl").split("\n")]
        assert sd14.urls[:500] == [[row["url"]] for row in rows]
        membench = published.load("membench_sd14", real, "against_laion")
        table = list(csv.reader(of("SD1_final.csv").split("\n")[1:-1]))
        assert membench.texts[:3000] == [row[1] for row in table]
        assert len({url for urls in membench.urls[:3000] for url in urls}) == 151
        assert len(set(membench.families[:3000])) == 53
