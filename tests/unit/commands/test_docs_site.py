"""The documentation site: every link leads to a page, cheaply, and nothing is run."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from mocra_scrapy.commands import docs_site
from mocra_scrapy.commands.docs_site import DocsSite


def all_pages(site: DocsSite) -> dict[str, bytes]:
    """All that can be reached from the first page."""
    found: dict[str, bytes] = {}
    todo = ["/"]
    while todo:
        path = todo.pop()
        if path not in found:
            page = site.page(path)
            assert page is not None, path
            found[path] = page
            todo += re.findall(r'href="([^"]*)"', page.decode())
    return found


def test_every_link_leads_to_a_page_and_a_page_is_cheap() -> None:
    site = DocsSite(600)
    began = time.process_time()
    pages = all_pages(site)
    spent = time.process_time() - began
    assert 500 <= len(pages) <= site.pages
    assert spent / len(pages) < 0.003, "s a page"
    assert sum(map(len, pages.values())) / len(pages) < 10_000
    assert b"Abstract Base Classes" in pages["/abc.html"]
    assert b"<h1>abc.ABC</h1>" in pages["/abc/ABC.html"]


def test_text_is_escaped_and_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "lib"
    (library / "package").mkdir(parents=True)
    (library / "package" / "__init__.py").write_text('"""<script>&"""\nraise SystemExit\nimport other\n')
    (library / "package" / "_private.py").write_text("")
    (library / "package" / "inner.py").write_text(
        'class Base: pass\nclass A(Base):\n    """Of `A`."""\n    def f(self, x, *, y): "<b>"\n    def _g(self): pass\n'
        "async def run(a, /, b): pass\ndef _hidden(): pass\n"
    )
    (library / "other.py").write_text("print 'of Python 2'\ndef gone(): pass\n")
    (library / "tests").mkdir()
    (library / "tests" / "__init__.py").write_text("")
    monkeypatch.setattr(docs_site.sysconfig, "get_path", lambda kind: str(library))
    monkeypatch.setattr(docs_site.sys, "path", [])
    site = DocsSite(100)
    assert set(site.modules) == {"other", "package", "package.inner"}
    pages = all_pages(site)
    assert b"&lt;script&gt;&amp;" in pages["/package.html"]
    assert b'href="/other.html"' in pages["/package.html"]
    assert b'href="/package.inner.html"' in pages["/package.html"]
    page = pages["/package.inner/A.html"].decode()
    assert "class A(Base)" in page
    assert "f(self, x, y)" in page
    assert "&lt;b&gt;" in page
    assert "_g" not in page
    assert 'href="/package.inner/Base.html"' in page
    assert "/package.inner/run.html" in pages
    assert site.page("/other/gone.html") is None, "it can't be parsed"
    assert site.page("/package.inner/_hidden.html") is None


def test_it_has_no_more_pages_than_were_wanted() -> None:
    small = DocsSite(1)
    assert list(all_pages(small)) == ["/"]
