"""Names of files that stand for texts."""

from anisomem.storage.digests import file_name


def test_every_text_has_a_file_of_its_own(tmp_path):
    texts = ["p1", "a/b", "..", "é" * 200, "é" * 200 + "a", "é" * 20, "x" * 220, "x" * 221]
    names = [file_name(text, ".safetensors") for text in texts]
    assert names[:2] == ["p1.safetensors", "a%2Fb.safetensors"]
    assert names[6] == "x" * 220 + ".safetensors" and len(set(names)) == len(texts)
    for name in names:
        (tmp_path / name).write_text(name)
        assert len(name) <= 240 and (tmp_path / name).parent.samefile(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(texts)
