import numpy as np

from anisomem.measures.seeds import Diversity, Moved


def flat(*colours):
    return np.stack([np.full((4, 6, 3), colour, np.uint8) for colour in colours])


def test_diversity_is_the_mean_distance_to_the_others(generated):
    found = Diversity("diversity")(generated(flat(0, 51, 255)))["diversity"]
    np.testing.assert_allclose(found, [(0.2 + 1) / 2, (0.2 + 0.8) / 2, (1 + 0.8) / 2])
    assert Diversity("diversity")(generated(flat(9, 9)))["diversity"].tolist() == [0, 0]


def test_moved_is_the_distance_to_the_plain_picture_of_the_same_seed(generated):
    measure = Moved("moved")
    pictures, plain = flat(0, 100), flat(255, 100)
    plain[1, :2] = 151  # half of the picture
    found = measure(generated(pictures, plain=plain))["moved"]
    np.testing.assert_allclose(found, [1, 0.2 * np.sqrt(0.5)])
