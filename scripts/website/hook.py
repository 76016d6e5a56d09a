"""What mkdocs calls while it builds the site: pages that no file of ``docs/`` is.

    python -m mkdocs build

Reference pages are made by :mod:`scripts.website.reference`, and the files of the repository that
pages link to become pages by :mod:`scripts.website.repository`.
"""

from __future__ import annotations

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from scripts.website import reference
from scripts.website.repository import DOCS, ROOT, Mirror

#: The Markdown of the pages of ``docs/`` as the site has it, by their places.
_REWRITTEN: dict[str, str] = {}
_ROW = re.compile(r"^\| \*\*(?P<words>[^*]+)\*\* \| (?P<means>.*) \|$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and copies that are made."""
    mirror = Mirror()
    mirror.top()
    for file in files.documentation_pages():
        at = file.src_uri
        _REWRITTEN[at] = mirror.rewritten(file.content_string, f"{DOCS}/{at}", at)
    for at, made in mirror.made.items():
        if made.text is None:
            files.append(File.generated(config, at, abs_src_path=str(ROOT / made.source)))
        else:
            files.append(File.generated(config, at, content=made.text))
    for at, text in reference.pages().items():
        files.append(File.generated(config, at, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page's Markdown, links rewritten and abbreviations told where a reader points at them."""
    at = page.file.src_uri
    text = _REWRITTEN.get(at, markdown)
    if at == "glossary.md" or page.file.src_uri.startswith("repository/"):
        return text
    return text + "\n\n" + abbreviations((ROOT / DOCS / "glossary.md").read_text(encoding="utf-8"))


def abbreviations(glossary: str) -> str:
    """The abbreviations of the glossary, each with what it means, as Markdown defines them.

    Arguments:
        glossary: The glossary's Markdown, a table of words.
    """
    lines = []
    for row in _ROW.finditer(glossary):
        means = re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`]", r"\1", row["means"])
        for word in row["words"].split(", "):
            if re.fullmatch(r"[A-Z]{2,}", word):
                lines.append(f"*[{word}]: {means}")
    return "\n".join(lines) + "\n"
