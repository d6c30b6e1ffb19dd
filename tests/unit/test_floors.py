"""The house's floors (docs/architecture): who may import whom, which words name no file, how long a
file may be.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mocra_scrapy

ROOT = Path(mocra_scrapy.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
RULES = {
    "interfaces",
    "models",
    "exceptions",
    "session",
    "default_settings",
    "_version",
    "_tasks",
    "_suspendable",
    "leadership",
    "locking",
    "sharing",
}  # floor 2: no I/O, no Scrapy
CLIENTS = {"redis": ROOT / "backends" / "redis", "confluent_kafka": ROOT / "backends" / "kafka"}
NO_NAMES = {"utils", "common", "helpers", "manager", "service", "misc", "base"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Names of the modules that a file imports, wherever in it; those for type checkers are left
    out.
    """
    found: set[str] = set()

    class Visitor(ast.NodeVisitor):
        def visit_If(self, node: ast.If) -> None:
            if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
                self.generic_visit(node)

        def visit_Import(self, node: ast.Import) -> None:
            found.update(alias.name for alias in node.names)

        def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)

    Visitor().visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    mine, module = imports(path), name_of(path)
    ours = {name.removeprefix("mocra_scrapy.") for name in mine if within(name, "mocra_scrapy")}
    short = module.removeprefix("mocra_scrapy.")
    if short.partition(".")[0] in RULES:
        assert not any(within(name, "scrapy") for name in mine)
        assert {name.partition(".")[0] for name in ours} - {"mocra_scrapy"} <= RULES
    elif within(short, "backends"):
        assert not any(within(name, "scrapy") or within(name, "twisted") for name in mine)
        folder = ".".join(short.split(".")[:2])
        allowed = RULES | {"mocra_scrapy"}
        for name in ours:
            inside = within(name, folder) or name.partition(".")[0] in allowed
            opener = short == "backends" and within(name, "backends")
            assert inside or opener, f"{module} imports {name}"
    else:
        for name in ours:
            assert not within(name, "backends") or name in (
                "backends",
                "backends.open_backend",
                "backends.redact_url",
            ), f"{module} imports {name}: only open_backend knows which backends there are"
    for client, folder_of in CLIENTS.items():
        if any(within(name, client) for name in mine):
            assert path.is_relative_to(folder_of), f"{module} imports {client}"
    assert not any(within(name, "twisted") for name in mine), "twisted only through Scrapy's helpers"
    assert not {"pickle", "marshal", "shelve"} & mine or short == "_codec"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_hold_one_thing(path: Path) -> None:
    assert path.stem not in NO_NAMES
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 330, "part it: it holds two things"


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Every ``scrapy`` call imports the command's module; floor 2 must be usable without Scrapy."""
    import subprocess
    import sys

    code = (
        "import sys, mocra_scrapy.interfaces, mocra_scrapy.coordination.queue_session;"
        "print([m for m in ('scrapy', 'twisted', 'redis', 'msgpack') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import sys, mocra_scrapy.commands.mocra; print([m for m in ('redis', 'msgpack') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_refers_to_what_is_not_here() -> None:
    """The project carries its own truth: no machine paths, no workshop folders."""
    top = Path(__file__).parents[2]
    mentions = ["../sh" + "ared", "/ro" + "ot/", "/wo" + "rk/"]
    files = [
        *FILES,
        *(
            p
            for folder in ("docs", "tests", "benchmarks", "tools", "project_template")
            for p in (top / folder).rglob("*.*")
        ),
    ]
    for path in files:
        if (
            path.is_file()
            and path.suffix in {".py", ".rst", ".md", ".sh", ".lua", ".tmpl", ".toml", ".cfg"}
            and "_build" not in path.parts
        ):
            text = path.read_text(encoding="utf-8")
            assert not [m for m in mentions if m in text], path
