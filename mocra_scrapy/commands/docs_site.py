"""A site to try a crawl on: the documentation of the Python that is installed here, as small linked
pages, served on this machine.

``/``                    all modules
``/<module>.html``       its text, links to what it defines and to modules that it imports
``/<module>/<name>.html``  a class or a function: how it is called, its text, links to its neighbours

Nothing is imported or run: files are read and parsed when a page of theirs is first asked for, which
takes about a millisecond a page.
"""

from __future__ import annotations

import ast
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from html import escape
from pathlib import Path

#: Left out: tests, what is huge and says nothing, and what is not for reading.
LEFT_OUT = {"test", "tests", "idlelib", "idle_test", "lib2to3", "turtledemo", "pydoc_data", "encodings", "__pycache__"}
LEFT_OUT_TOO = {"site-packages", "dist-packages", "ensurepip", "_vendor"}
LARGEST = 400_000  # bytes of a file
LINKS = 40  # of one kind on a page at most; more are on pages of their neighbours
DEFINITION = re.compile(rb"^(?:class|(?:async )?def) ([A-Za-z]\w*)", re.MULTILINE)
PAGE = """<!doctype html>
<html><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""


def module_files() -> Iterator[tuple[str, Path]]:
    """Name and file of each public module, the standard library's first."""
    installed = [Path(folder) for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    for root in [Path(sysconfig.get_path("stdlib")), *installed]:
        todo = [(root, "")]
        while todo:
            folder, prefix = todo.pop(0)
            for path in sorted(folder.iterdir()):
                name = path.stem
                if not name.isidentifier() or (name.startswith("_") and name != "__init__"):
                    continue
                if path.is_dir() and path.name not in LEFT_OUT | LEFT_OUT_TOO and (path / "__init__.py").is_file():
                    todo.append((path, f"{prefix}{path.name}."))
                elif path.suffix == ".py" and name not in LEFT_OUT and path.stat().st_size <= LARGEST:
                    if name != "__init__":
                        yield f"{prefix}{name}", path
                    elif prefix:
                        yield prefix[:-1], path


class DocsSite:
    """Its pages, by path.

    Args:
        most: pages at most, about: what is defined is counted before it is parsed.
    """

    def __init__(self, most: int) -> None:
        self.modules: dict[str, Path] = {}
        self.pages = 1
        self._rendered: dict[str, bytes] = {}
        for name, path in module_files():
            if self.pages >= most:
                break
            self.modules[name] = path
            self.pages += 1 + len(set(DEFINITION.findall(path.read_bytes())))

    def page(self, path: str) -> bytes | None:
        """The page at *path*; ``None``: there is none."""
        if path in ("/", "/index.html"):
            return _page("Python, as it is installed here", _list(_module_link(name) for name in self.modules))
        found = self._rendered.get(path)
        name = path.removeprefix("/").partition("/")[0].removesuffix(".html")
        if found is None and name in self.modules and f"/{name}.html" not in self._rendered:
            self._rendered.update(self._render(name))
            found = self._rendered.get(path)
        return found

    def _render(self, name: str) -> Iterator[tuple[str, bytes]]:
        """The pages of module *name*."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of strings in other people's code
                tree = ast.parse(self.modules[name].read_bytes())
        except (SyntaxError, ValueError):  # Python 2, or made to be broken
            tree = ast.Module(body=[], type_ignores=[])
        defined = {node.name: node for node in tree.body if isinstance(node, _DEFINITIONS) and node.name[0] != "_"}
        parent = name.rpartition(".")[0]
        others = [n for n in ([parent] if parent else []) + sorted(_imported(tree)) if n in self.modules and n != name]
        inside = [n for n in self.modules if n.startswith(f"{name}.") and "." not in n[len(name) + 1 :]]
        yield (
            f"/{name}.html",
            _page(
                name,
                _text(ast.get_docstring(tree)),
                _list(_link(f"/{name}/{n}.html", n) for n in list(defined)),
                _list(_module_link(n) for n in [*inside[:LINKS], *others[:LINKS]]),
                '<a href="/">all modules</a>',
            ),
        )
        names = list(defined)
        for at, (defines, node) in enumerate(defined.items()):
            around = names[max(0, at - 2) : at] + names[at + 1 : at + 3]
            bases = [n for n in _bases(node) if n in defined]
            yield (
                f"/{name}/{defines}.html",
                _page(
                    f"{name}.{defines}",
                    f"<code>{escape(_signature(node))}</code>",
                    _text(ast.get_docstring(node)),
                    *_methods(node),
                    _list(_link(f"/{name}/{n}.html", n) for n in [*bases, *around]),
                    _module_link(name),
                ),
            )


_Function = ast.FunctionDef | ast.AsyncFunctionDef
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _methods(node: ast.ClassDef | _Function) -> Iterator[str]:
    for method in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)) and method.name[0] != "_":
            yield f"<h2>{escape(_signature(method))}</h2>{_text(ast.get_docstring(method))}"


def _signature(node: ast.ClassDef | _Function) -> str:
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}({', '.join(_bases(node))})"
    return (
        f"{node.name}({', '.join(arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs))})"
    )


def _bases(node: ast.ClassDef | _Function) -> list[str]:
    return [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []


def _imported(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def _page(title: str, *parts: str) -> bytes:
    return PAGE.format(title=escape(title), body="\n".join(part for part in parts if part)).encode()


def _text(text: str | None) -> str:
    return f"<pre>{escape(text)}</pre>" if text else "<p>It has no text.</p>"


def _link(path: str, text: str) -> str:
    return f'<a href="{path}">{escape(text)}</a>'


def _module_link(name: str) -> str:
    return _link(f"/{name}.html", name)


def _list(links: Iterator[str]) -> str:
    inside = "".join(f"<li>{link}</li>" for link in links)
    return f"<ul>{inside}</ul>" if inside else ""
