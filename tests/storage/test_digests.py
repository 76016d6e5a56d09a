"""Names of files that stand for texts, and files that are not there."""

import pytest

from anisomem.errors import UserError
from anisomem.storage.digests import file_name, stamp


def test_every_text_has_a_file_of_its_own(tmp_path):
    texts = ["p1", "a/b", "..", "é" * 200, "é" * 200 + "a", "é" * 20, "x" * 220, "x" * 221]
    names = [file_name(text, ".safetensors") for text in texts]
    assert names[:2] == ["p1.safetensors", "a%2Fb.safetensors"]
    assert names[6] == "x" * 220 + ".safetensors" and len(set(names)) == len(texts)
    for name in names:
        (tmp_path / name).write_text(name)
        assert len(name) <= 240 and (tmp_path / name).parent.samefile(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(texts)


def test_a_broken_link_in_a_model_is_named(tmp_path):
    (tmp_path / "vocab.json").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"vocab\.json is a broken link"):
        stamp(tmp_path)
