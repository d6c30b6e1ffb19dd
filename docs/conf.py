"""Sphinx configuration. ``make docs`` builds with warnings as errors.

Two additions of our own: ``.. setting::`` with the role ``:setting:``, as Scrapy's documentation has
them, and ``.. changes::``, which shows ``CHANGES.md``.
"""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mocra_scrapy import __version__

project = "mocra_scrapy"
copyright = "mocra_scrapy developers"
version = release = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"mocra_scrapy {__version__}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
exclude_patterns = ["_build"]
nitpicky = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_ivar = True

CHANGES = Path(__file__).parents[1] / "CHANGES.md"


def markdown_to_rst(text: str) -> str:
    """The little Markdown that ``CHANGES.md`` uses. Its own title is left to the page."""
    lines = []
    for line in text.splitlines():
        heading = re.match(r"(#{1,3}) (.+)", line)
        if heading:
            underline = {2: "-", 3: "~"}.get(len(heading[1]))
            if underline:
                lines += [heading[2], underline * len(heading[2])]
            continue
        text_of_line = re.sub(r"`([^`]+)`", _literal, line)
        lines.append(re.sub(r"\[([^\]]+)\]\((https?:[^)]+)\)", r"`\1 <\2>`__", text_of_line))
    return "\n".join(lines)


def _literal(found: re.Match[str]) -> str:
    name = found[1]
    return f":setting:`{name}`" if re.fullmatch(r"MOCRA_\w*[A-Z]", name) else f"``{name}``"


class Changes(SphinxDirective):
    """``.. changes::``: the content of ``CHANGES.md``."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(CHANGES))
        text = markdown_to_rst(CHANGES.read_text(encoding="utf-8"))
        content = StringList(text.splitlines(), source=str(CHANGES))
        parent = nodes.section()
        parent.document = self.state.document
        self.state.nested_parse(content, 0, parent, match_titles=True)
        return parent.children


def setup(app: Sphinx) -> None:
    app.add_crossref_type("setting", "setting", indextemplate="pair: %s; setting")
    app.add_directive("changes", Changes)
