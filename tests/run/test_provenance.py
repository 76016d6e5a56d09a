"""The commit named is ours or none."""

import subprocess

from anisomem.run.provenance import continued, git_commit


def test_what_goes_on_elsewhere_says_where_it_began():
    first = {"date": "2026-01-01", "device_name": "A", "dtype": "float32", "revision": "r"}
    assert continued({}, first) == first and continued(first, first) == first
    second = continued(first, {**first, "device_name": "B"})
    began = {"packages": None, "git_commit": None} | {
        name: first[name] for name in ("date", "device_name", "dtype")
    }
    assert second["device_name"] == "B" and second["earlier"] == [began]
    third = continued(second, {**first, "device_name": "C"})
    assert [one["device_name"] for one in third["earlier"]] == ["A", "B"]


def git(folder, *arguments):
    settings = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *settings, *arguments], cwd=folder, check=True, text=True, capture_output=True
    )
    return done.stdout.strip()


def test_commit_of_a_checkout_and_of_none(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert git_commit(package) is None  # no repository
    git(tmp_path, "init", "-q")
    (tmp_path / "other").write_text("")
    git(tmp_path, "add", "other")
    git(tmp_path, "commit", "-qm", "somebody else's project")
    assert git_commit(package) is None  # installed into it, not a part of it
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "ours")
    assert git_commit(package) == git(tmp_path, "rev-parse", "HEAD")
    (package / "__init__.py").write_text("changed")
    assert git_commit(package) == git(tmp_path, "rev-parse", "HEAD") + "-dirty"
