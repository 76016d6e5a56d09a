"""One colour for each detector."""

from types import SimpleNamespace

import numpy as np
from matplotlib.colors import to_rgb

from anisomem.report.colours import _lab, colours, colours_of, distinct


def test_no_two_of_many_are_equal_or_near():
    many = distinct(45)
    assert len(set(many)) == 45
    lab = _lab(np.array([to_rgb(colour) for colour in many]))
    apart = np.linalg.norm(lab[:, None] - lab, axis=-1) + 1e9 * np.eye(45)
    assert apart.min() > 10  # 2.3 is what is just seen
    assert lab[:, 0].max() < 85  # none vanishes on white


def test_lightness_and_chroma_of_known_colours():
    lab = _lab(np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0.5, 0.5, 0.5]]))
    np.testing.assert_allclose(lab[:2, 0], [100, 0], atol=0.01)
    np.testing.assert_allclose(lab[2], [53.24, 80.09, 67.20], atol=0.05)
    np.testing.assert_allclose(lab[[0, 3], 1:], 0, atol=0.05)


def test_fewer_have_the_first_and_a_name_has_one():
    assert list(distinct(5)) == list(distinct(20))[:5]
    assert colours(["a", "b", "a"]) == colours(["a", "b"])


def test_detectors_of_several_cases_have_the_same_in_each():
    cases = [
        SimpleNamespace(detectors=[SimpleNamespace(name=name) for name in names])
        for names in (["wen", "jeon"], ["jeon", "random"])
    ]
    found = colours_of(cases)
    assert list(found) == ["wen", "jeon", "random"] and len(set(found.values())) == 3
