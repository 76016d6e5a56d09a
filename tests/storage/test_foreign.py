"""Files that come from elsewhere are looked at before they are read."""

import os

import pytest

from anisomem.errors import UserError
from anisomem.storage.foreign import is_repository, located


def test_only_a_path_that_is_given_names_a_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "None").mkdir()
    assert located(None) is None and located("") is None and located("OWNER/NAME") is None
    assert located("model").samefile(tmp_path / "model")
    assert located(".").samefile(tmp_path)


def test_what_is_neither_file_nor_folder_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/nowhere/at/all")
    for name, message in (("pipe", "no folder and no regular file"), ("link", "broken link")):
        with pytest.raises(UserError, match=message):
            located(str(tmp_path / name))


def test_a_repository_is_named_owner_and_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stabilityai").mkdir()  # a folder of that name hides no repository
    assert is_repository("stabilityai/sd-turbo")
    for path in ("nowhere", "/run/a", "./run", "../a", "a/b/c", "a b/c", "a/.b"):
        assert not is_repository(path), path
