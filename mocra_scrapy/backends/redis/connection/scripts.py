"""The scripts of ``lua/``: each is sent as one text, the libraries that it uses in front of it."""

from __future__ import annotations

import hashlib
from functools import cache, cached_property
from importlib import resources

USES = "-- uses: "
FOLDER = resources.files("mocra_scrapy.backends.redis") / "lua"

#: While a cluster moves a hash slot its keys are on two nodes, and a script meets some of them on each: it would
#: find a list empty that is not, and fail in its middle. Two keys that nobody has are refused then, on both nodes,
#: and the call with them, before it has written anything.
NOT_WHILE_MOVING = "redis.call('EXISTS', KEYS[1] .. '-', KEYS[1] .. '--')\n"


class Script:
    """A Lua script, ready to be sent. It is read when its text is first asked for: of forty scripts a crawl
    calls five.

    Args:
        name: of a file in ``lua/``, without ``.lua``.
        text: another one than that file's.
    """

    def __init__(self, name: str, text: str | None = None) -> None:
        self.name, self._text = name, text

    @cached_property
    def text(self) -> str:
        """The file, behind the libraries of ``lua/lib`` that it uses, and those that these use: each
        once, and behind what it uses itself.
        """
        if self._text is not None:
            return self._text
        parts: dict[str, str] = {}

        def add(library: str) -> None:
            if library not in parts:
                text, uses = library_of(library)
                for used in uses:
                    add(used)
                parts[library] = text

        text = read(f"{self.name}.lua")
        for used in uses_of(text):
            add(used)
        return "".join((*parts.values(), text))

    @cached_property
    def sha(self) -> str:
        """The name that Redis knows it by."""
        return hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324 - Redis names scripts by it

    @cached_property
    def in_cluster(self) -> Script:
        """The same for a cluster."""
        return Script(self.name, NOT_WHILE_MOVING + self.text)


def uses_of(text: str) -> list[str]:
    """The libraries that the first lines of a file name: ``-- uses: meta items``."""
    used = []
    while text.startswith(USES):
        line, _, text = text.partition("\n")
        used += line.removeprefix(USES).split()
    return used


def read(path: str) -> str:
    return (FOLDER / path).read_text("utf-8")


@cache
def library_of(name: str) -> tuple[str, list[str]]:
    """The text of ``lua/lib/<name>.lua``, and what it uses."""
    text = read(f"lib/{name}.lua")
    return text, uses_of(text)


def load_script(name: str) -> Script:
    """``lua/<name>.lua``."""
    return Script(name)
