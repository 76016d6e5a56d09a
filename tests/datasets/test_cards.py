"""Cards are complete, consistent with each other and with the configuration."""

import re

from anisomem import catalog
from anisomem.datasets import cards, published


def test_every_card_has_a_configuration_and_readers():
    assert set(cards.names()) == {*published.SETS, "model_swap"}
    for name in cards.names():
        text = (catalog.folder() / "dataset" / f"{name}.yaml").read_text()
        said = re.search(r"# Variants: (.*?)\.\n", text, re.DOTALL)
        assert re.findall(r"\w+", said[1]) == list(cards.read(name).variants)


def test_the_same_file_has_the_same_pins_everywhere():
    seen = {}
    for name in cards.names():
        card = cards.read(name)
        assert card.memorized and card.others and card.labels and card.defects
        assert len({source.role for source in card.sources}) == len(card.sources)
        for source in card.sources:
            pins = (source.bytes, source.sha256, source.rows, source.licence, source.commit)
            assert seen.setdefault((source.repository, source.path), pins) == pins
            assert len(source.sha256) == 64 and len(source.commit) == 40
            assert not source.path.endswith(".pickle")
