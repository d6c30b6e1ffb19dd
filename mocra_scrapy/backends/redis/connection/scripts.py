"""The scripts of ``lua/``: each is sent as one text, the libraries that it uses in front of it."""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib import resources
from itertools import takewhile

USES = "-- uses: "


#: While a cluster moves a hash slot its keys are on two nodes, and a script meets some of them on each: it would
#: find a list empty that is not, and fail in its middle. Two keys that nobody has are refused then, on both nodes,
#: and the call with them, before it has written anything.
NOT_WHILE_MOVING = "redis.call('EXISTS', KEYS[1] .. '-', KEYS[1] .. '--')\n"


class Script:
    """A Lua script, ready to be sent."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.sha = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - Redis names scripts by it

    @cached_property
    def in_cluster(self) -> Script:
        """The same for a cluster."""
        return Script(self.name, NOT_WHILE_MOVING + self.text)


def uses_of(text: str) -> list[str]:
    """The libraries that the first lines of a file name: ``-- uses: meta items``."""
    lines = takewhile(lambda line: line.startswith(USES), text.splitlines())
    return [name for line in lines for name in line.removeprefix(USES).split()]


def load_script(name: str) -> Script:
    """``lua/<name>.lua`` behind the libraries of ``lua/lib`` that it uses, and those that these
    use: each once, and behind what it uses itself.
    """
    folder = resources.files("mocra_scrapy.backends.redis") / "lua"
    parts: dict[str, str] = {}

    def add(library: str) -> None:
        if library not in parts:
            text = (folder / "lib" / f"{library}.lua").read_text("utf-8")
            for used in uses_of(text):
                add(used)
            parts[library] = text

    text = (folder / f"{name}.lua").read_text("utf-8")
    for used in uses_of(text):
        add(used)
    return Script(name, "".join((*parts.values(), text)))
