"""Files of the repository beside ``docs/`` that pages link to, as pages of the site.

A page in ``docs/`` links to a file as the repository has it, ``../results/audit.md``, which is
right where the repository is looked at. On the site such a file is a page of its own below
``repository/``: Markdown as it is, a folder as a list of what is in it, a notebook as its cells,
source as code, and everything else as a copy. So the site is whole without a network.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
#: Files at the top of the repository that have a place of their own on the site.
PLACES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
#: How source is coloured, by the end of its name; a file without an end is plain text.
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".cff": "yaml"}
PICTURES = (".png", ".svg", ".jpg")
COPIED = 16 << 20  # bytes of a file that is copied at most; a larger one is only named
RAW = (".parquet", ".npz", ".safetensors", ".npy")  # recorded data, only named in a list

_CODE = re.compile(r"(^(?P<fence>`{3,}).*?^(?P=fence)$|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?P<before>\]\(|<img [^>]*src=\")(?P<target>[^)\s\"#]+)(?P<rest>[#)\s\"])")
_HEAD = "---\nsearch:\n  exclude: true\n---\n"


@cache
def files() -> frozenset[str]:
    """What the repository has, by path: nothing that git ignores or that lies there by chance."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = listed.stdout.decode().split("\0")
    return frozenset(name for name in names if name and (ROOT / name).is_file())


@cache
def folders() -> frozenset[str]:
    """The folders that hold what the repository has, at any depth."""
    parts = [name.split("/")[:-1] for name in files()]
    return frozenset("/".join(part[:n]) for part in parts for n in range(1, len(part) + 1))


@dataclass(frozen=True)
class Made:
    """What stands at a place of the site that ``docs/`` has no file for.

    Attributes:
        source: The file or folder of the repository, by its path there.
        text: The Markdown of a page; None where the file is copied.
    """

    source: str
    text: str | None


@dataclass
class Mirror:
    """What the pages of a site link to outside ``docs/``.

    Attributes:
        made: What is to stand on the site, by its place below ``docs/``.
    """

    made: dict[str, Made] = field(default_factory=dict)

    def rewritten(self, text: str, source: str, at: str) -> str:
        """A page's Markdown, with links that lead to what stands on the site.

        Whatever a link leads to outside ``docs/`` is made, and what that links to.

        Arguments:
            text: The Markdown as the repository has it.
            source: Where the repository has it, from which links are looked up.
            at: The page's place below ``docs/``.
        """
        beside = posixpath.dirname(source)

        def led(link: re.Match[str]) -> str:
            target = posixpath.normpath(posixpath.join(beside, link["target"]))
            place = None if "://" in link["target"] else self._place(target)
            if place is None:
                return link[0]
            shown = posixpath.relpath(place, posixpath.dirname(at) or ".")
            return f"{link['before']}{shown}{link['rest']}"

        parts = _CODE.split(text)
        kept = [part for n, part in enumerate(parts) if n % 3 != 2]  # without the groups of fences
        return "".join(part if n % 2 else _LINK.sub(led, part) for n, part in enumerate(kept))

    def top(self) -> None:
        """Makes the pages of files at the top of the repository."""
        for source, at in PLACES.items():
            if at != "index.md":
                self._make(source, at)

    def _place(self, path: str) -> str | None:
        """The place of a file or folder below ``docs/``; None where the repository has none."""
        if path.startswith(f"{DOCS}/"):
            return path.removeprefix(f"{DOCS}/")
        if path in PLACES:
            return PLACES[path]
        if path in folders():
            readme = f"{path}/README.md"
            at = f"repository/{readme}" if readme in files() else f"repository/{path}/index.md"
            return self._make(readme if readme in files() else path, at)
        if path not in files() or (ROOT / path).stat().st_size > COPIED:
            return None
        suffix = posixpath.splitext(path)[1]
        as_page = suffix in (".ipynb", "") or suffix in LANGUAGES
        return self._make(path, f"repository/{path}{'.md' * as_page}")

    def _make(self, source: str, at: str) -> str:
        """Puts a file or folder at a place, and returns that."""
        if at not in self.made:
            self.made[at] = Made(source, None)  # before what it links to, which may link back
            if at.endswith(".md"):
                text = markdown(source)
                beside = f"{source}/index.md" if source in folders() else source
                self.made[at] = Made(source, self.rewritten(text, beside, at))
        return at


def markdown(source: str) -> str:
    """A file or folder of the repository as Markdown, links as the repository has them."""
    if source in folders():
        return _HEAD + listing(source)
    text = (ROOT / source).read_text(encoding="utf-8")
    if source.endswith(".md"):
        return text if source in PLACES else _HEAD + text
    if source.endswith(".ipynb"):
        return cells(text)
    language = LANGUAGES.get(posixpath.splitext(source)[1], "text")
    return f"{_HEAD}# {source}\n\n{fenced(text, language)}"


def fenced(text: str, language: str) -> str:
    """A block of code, whatever it holds."""
    marks = "`" * max(3, 1 + max(map(len, re.findall(r"`{3,}", text)), default=0))
    return f"{marks}{language}\n{text.rstrip()}\n{marks}\n"


def listing(folder: str) -> str:
    """What a folder has, each file with what its first line says of it, and its pictures."""
    inside = sorted(name for name in files() if posixpath.dirname(name) == folder)
    below = sorted(name for name in folders() if posixpath.dirname(name) == folder)
    lines = [f"# {folder}\n"]
    names = [name for name in inside if not posixpath.basename(name).startswith((".", "__"))]
    names.sort(key=lambda name: not name.endswith((".md", ".html", ".ipynb")))  # to be read first
    for name in [*names, *below]:
        shown, said = posixpath.basename(name), first_line(name)
        raw = name.endswith(RAW)
        link = f"`{shown}`" if raw else f"[{shown}{'/' * (name in folders())}]({shown})"
        lines.append(f"- {link}{f': {said}' if said else ''}")
    lines += [
        f"\n![{posixpath.basename(name)}]({posixpath.basename(name)})"
        for name in names
        if name.endswith(PICTURES)
    ]
    return "\n".join(lines) + "\n"


def first_line(source: str) -> str:
    """What a file says it is: a module's docstring or a YAML file's comment, in its first line."""
    if source.endswith(".py"):
        tree = ast.parse((ROOT / source).read_text(encoding="utf-8"))
        return (ast.get_docstring(tree) or "").partition("\n")[0].replace("``", "`")
    if source.endswith((".yaml", ".yml")):
        line = (ROOT / source).read_text(encoding="utf-8").partition("\n")[0]
        return line.removeprefix("# ") if line.startswith("# ") else ""
    return ""


def cells(notebook: str) -> str:
    """A notebook as Markdown: its texts, its code, and what that printed or showed as text."""
    parts = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source + "\n")
            continue
        parts.append(fenced(source, "python"))
        parts += [shown for one in cell.get("outputs", ()) if (shown := output(one))]
    return "\n".join(parts)


def output(one: dict[str, Any]) -> str:
    """What a cell gave, as a notebook shows it: a picture, a table, or text; "" for nothing."""
    data = one.get("data")
    if not isinstance(data, dict):
        return fenced("".join(one["text"]), "text") if isinstance(one.get("text"), list) else ""
    if "image/png" in data:
        picture = "".join("".join(data["image/png"]).split())
        return f'<img alt="what the cell shows" src="data:image/png;base64,{picture}">\n'
    if "text/html" in data:  # without empty lines, after which Markdown would go on
        lines = "".join(data["text/html"]).splitlines()
        shown = [line for line in lines if line.strip()]
        return "\n".join(['<div class="output">', *shown, "</div>\n"])
    return fenced("".join(data.get("text/plain", [])), "text")
