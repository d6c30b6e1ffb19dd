"""The rooms of the house (docs/architecture): who may import whom, proved free of circles; which
words name no file; how long a file may be.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mocra_scrapy

ROOT = Path(mocra_scrapy.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

#: What every room may import.
EVERYBODY = {"models", "exceptions", "signals", "_lazy", "_tasks", "_version"}
#: Room -> the rooms that it may import beside these. A room is a folder, or a file of the root.
TABLE: dict[str, set[str]] = {
    # the rules
    "_version": set(),
    "exceptions": set(),
    "signals": set(),
    "_lazy": set(),
    "_tasks": set(),
    "models": set(),
    "interfaces": set(),
    "coordination": {"interfaces"},
    "settings": set(),
    # the backends
    "backends.embedded": set(),
    "backends.memory": {"interfaces", "backends.embedded"},
    "backends.redis": {"interfaces"},
    "backends.kafka": set(),
    "backends.composite": {"interfaces", "backends.kafka"},
    "backends": {"interfaces", "backends.memory", "backends.redis", "backends.composite"},
    # the rooms
    "engine": set(),
    "codec": {"interfaces", "settings"},
    "cache": {"interfaces", "coordination", "settings", "codec"},
    "runtime": {"interfaces", "coordination", "settings", "backends", "engine", "cache"},
    "politeness": {"settings", "runtime", "engine", "codec", "interfaces"},
    "worker": {"interfaces", "coordination", "settings", "engine", "codec", "runtime.worker_state"},
    "control": {"interfaces", "runtime", "settings", "coordination"},
    "events": {"interfaces", "settings", "backends", "backends.kafka", "runtime"},
    "feeds": {"runtime"},
    "sessions": {"interfaces", "coordination", "settings", "codec", "engine", "runtime"},
    "pipelines": {
        "interfaces",
        "settings",
        "engine",
        "runtime",
        "worker",
        "backends",
        "backends.redis",
        "backends.kafka",
    },
    "proxies": {"interfaces", "settings", "engine", "runtime", "politeness"},
    "seeds": {"settings", "codec", "runtime", "backends", "backends.kafka", "politeness"},
    "cron": {"interfaces", "coordination", "settings", "backends"},
}
#: What Scrapy loads may use every room, but not each other.
SHELLS = {
    "addon",
    "scheduler",
    "dupefilters",
    "statscollectors",
    "downloadermiddlewares",
    "spidermiddlewares",
    "extensions",
    "commands",
}
#: Rooms that know nothing of Scrapy, Twisted or a server.
WITHOUT_SCRAPY = {
    "interfaces",
    "models",
    "coordination",
    "exceptions",
    "signals",
    "_lazy",
    "_tasks",
    "_version",
    "backends",
}
CLIENTS = {
    "redis": ROOT / "backends" / "redis",
    "confluent_kafka": ROOT / "backends" / "kafka",
    "psycopg": ROOT / "pipelines",
    "pyarrow": ROOT / "pipelines",
    "warcio": ROOT / "cache" / "httpcache",
}
NO_NAMES = {"utils", "common", "helpers", "manager", "service", "misc", "base"}
#: Lines of a file at most.
LONGEST = 330


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room in which *module* (a name below the package) stands."""
    parts = module.split(".")
    room = parts[0]
    if room == "backends" and len(parts) > 1 and ".".join(parts[:2]) in TABLE:
        return ".".join(parts[:2])
    if ".".join(parts[:2]) in ("runtime.worker_state", "runtime.feeding", "runtime.running_worker"):
        return "runtime.worker_state"
    return room


@cache
def imports(path: Path) -> frozenset[str]:
    """Names of the modules that a file imports, wherever in it: lazily and for type checkers, too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            name = node.module or ""
            found.add(name)
            found.update(f"{name}.{alias.name}" for alias in node.names if module_exists(f"{name}.{alias.name}"))
    return frozenset(found)


@cache
def module_exists(name: str) -> bool:
    path = ROOT.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def ours(path: Path) -> set[str]:
    """Modules of the package that a file imports, without the package's own name."""
    return {name.removeprefix("mocra_scrapy.") for name in imports(path) if name.startswith("mocra_scrapy.")}


def test_the_table_of_rooms_has_no_circle() -> None:
    graph = {
        room: {other.partition(".worker_state")[0] for other in others} | EVERYBODY for room, others in TABLE.items()
    }
    for room in EVERYBODY:
        graph[room] = set()
    list(TopologicalSorter(graph).static_order())


def told(judge: Callable[[Path], str]) -> str:
    """What *judge* says of the files that it finds wrong, a line each. One test for all of them: 1,600
    tests were as many reports between processes.
    """
    return "\n".join(f"{name_of(path)}: {wrong}" for path in FILES if (wrong := judge(path)))


def test_imports_go_down() -> None:
    def wrong(path: Path) -> str:
        module = name_of(path).removeprefix("mocra_scrapy").removeprefix(".")
        room = room_of(module).partition(".worker_state")[0]
        mine = {room_of(name) for name in ours(path)}
        if room in TABLE:
            allowed = TABLE[room] | EVERYBODY | {room} | ({"runtime.worker_state"} if room == "runtime" else set())
            if room == "runtime" or "runtime" in TABLE[room]:
                allowed |= {"runtime.worker_state"}
            return f"imports {sorted(mine - allowed)}" if mine - allowed else ""
        if room in SHELLS:
            others = mine & SHELLS - {room}
            return f"imports {sorted(others)}" if others else ""
        return "" if room == "" else "no room of that name; give it a row of the table"

    assert not (all_of_them := told(wrong)), all_of_them


def test_clients_and_scrapy_stay_where_they_belong() -> None:
    def wrong(path: Path) -> str:
        mine, module = imports(path), name_of(path).removeprefix("mocra_scrapy").removeprefix(".")
        if module.partition(".")[0] in WITHOUT_SCRAPY and any(within(name, "scrapy") for name in mine):
            return "imports Scrapy"
        for client, folder in CLIENTS.items():
            if any(within(name, client) for name in mine) and not path.is_relative_to(folder):
                return f"imports {client}"
        # What Twisted itself writes to stderr can't be reached otherwise.
        its = {name for name in mine if within(name, "twisted")} - {
            "twisted.logger" if module == "engine.refusal" else ""
        }
        if its:
            return f"{sorted(its)}: twisted only through Scrapy's helpers"
        stores = {"pickle", "marshal", "shelve"} & mine
        return f"imports {sorted(stores)}" if stores and module != "codec.requests" else ""

    assert not (all_of_them := told(wrong)), all_of_them


def test_no_file_imports_in_a_circle() -> None:
    graph = {}
    for path in FILES:
        graph[name_of(path)] = {
            name for name in imports(path) if within(name, "mocra_scrapy") and name != "mocra_scrapy"
        }
    for name, others in graph.items():
        # A package is there before its modules: what a module imports of its own package is no circle.
        others -= {name} | {name.rpartition(".")[0]}
    list(TopologicalSorter(graph).static_order())


def test_the_root_is_no_corridor() -> None:
    files = {path.name for path in ROOT.glob("*.py")}
    assert files == {
        "__init__.py",
        "_lazy.py",
        "_tasks.py",
        "_version.py",
        "dupefilters.py",
        "exceptions.py",
        "scheduler.py",
        "signals.py",
        "statscollectors.py",
    }


def test_files_hold_one_thing() -> None:
    def wrong(path: Path) -> str:
        if path.stem in NO_NAMES:
            return "that names nothing"
        lines = len(path.read_text(encoding="utf-8").splitlines())
        return f"{lines} lines; part it: it holds two things" if lines > LONGEST else ""

    assert not (all_of_them := told(wrong)), all_of_them


def test_the_scheduler_is_the_seam_and_nothing_else() -> None:
    assert len((ROOT / "scheduler.py").read_text(encoding="utf-8").splitlines()) < 130


@pytest.mark.slow
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
    # A worker's start: these two would be half of it.
    code = (
        "import sys, mocra_scrapy.scheduler, mocra_scrapy.worker.assembly, mocra_scrapy.codec.requests;"
        "import mocra_scrapy.extensions.feedexport, mocra_scrapy.extensions.seeds;"
        "print([m for m in ('itemadapter', 'pydantic_core', 'msgspec', 'mocra_scrapy.seeds') if m in sys.modules])"
    )
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
