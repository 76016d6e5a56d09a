"""How pictures of a trial tell methods apart."""

from types import SimpleNamespace

import pytest

from anisomem.config import catalog, members
from anisomem.tradeoff import figures


@pytest.fixture(scope="module")
def nodes():
    """The settings of every mitigation that comes with the package."""
    names = [name for name in catalog.names("mitigation") if name != "none"]
    return {name: members.node("mitigation", name) for name in names}


def test_no_two_methods_have_one_colour_and_families_share_a_shape(nodes):
    settings = [SimpleNamespace(node=node) for node in nodes.values()]
    methods = {name: [i] for i, name in enumerate(nodes)}
    looks = figures.looks(SimpleNamespace(settings=settings, methods=methods))
    assert len(looks) == len(nodes) > 20
    assert len({look["color"] for look in looks.values()}) == len(looks)
    shapes = {}
    for name, node in nodes.items():
        shapes.setdefault(figures.family(node), set()).add(looks[name]["marker"])
    assert all(len(own) == 1 for own in shapes.values())
    assert len(set().union(*shapes.values())) == len(shapes) <= len(figures.MARKERS)
    assert figures.MARKERS.find("*") < 0  # which is sampling without one


def test_a_family_is_what_is_done_and_not_when(nodes):
    assert figures.family(nodes["random_tokens"]) == figures.family(nodes["repeat_words"])
    assert figures.family(nodes["anisotropy_on_detection"]) == figures.family(nodes["anisotropy"])
    assert figures.family(nodes["wen"]) != figures.family(nodes["sail"])
