"""The scripts of ``lua/``: each is sent as one text, the libraries that it uses in front of it. The one that is
called most is also a function of the server, where that has functions.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

USES = "-- uses: "
FOLDER = resources.files("mocra_scrapy.backends.redis") / "lua"

#: While a cluster moves a hash slot its keys are on two nodes, and a script meets some of them on each: it would
#: find a list empty that is not, and fail in its middle. Two keys that nobody has are refused then, on both nodes,
#: and the call with them, before it has written anything.
NOT_WHILE_MOVING = "redis.call('EXISTS', KEYS[1] .. '-', KEYS[1] .. '--')\n"

#: How a library begins that is made at once, and the part of it that makes its state. A script is made for one call:
#: there that part is no function, for it runs once, where it stands.
AT_ONCE = re.compile(r"^local (\w+) = \(function\(\)$", re.MULTILINE)
FRESH, IN_PLACE = "    local function fresh()\n", "    local fresh do\n"

#: A function of the server. Lua knows next to nothing while one is loaded, so its first call makes the libraries;
#: KEYS is not there meanwhile. Then they stay, and each call makes their state only.
FUNCTION = """#!lua name={name}
local KEYS, ARGV, main

local function made()
{libraries}
return function()
{fresh}
{main}
end
end

redis.register_function('{name}', function(keys, args)
    main = main or made()
    KEYS, ARGV = keys, args
    {first}return main()
end)
"""


@dataclass(frozen=True)
class Function:
    """A library of the server with one function of the same name: ``mocra_<script>_<digest of its text>``. So two
    versions are two libraries, and neither is in the other's way.
    """

    name: str
    text: str


class Script:
    """A Lua script, ready to be sent. It is read when its text is first asked for: of forty scripts a crawl
    calls five.

    Args:
        name: of a file in ``lua/``, without ``.lua``.
        text: another one than that file's.
        stays: it is called as a function where the server has functions. What it uses keeps the rules of
            ``lua/lib/lazy.lua``.
        first: what each call does before anything else.
        head: Lua in front of the libraries.
    """

    def __init__(
        self, name: str, text: str | None = None, *, stays: bool = False, first: str = "", head: str = ""
    ) -> None:
        self.name, self.stays = name, stays
        self._text, self._first, self._head = text, first, head

    @cached_property
    def text(self) -> str:
        """The file, behind the libraries of ``lua/lib`` that it uses, and those that these use: each
        once, and behind what it uses itself.
        """
        if self._text is not None:
            return self._first + self._head + self._text
        made = [text.replace(FRESH, IN_PLACE) for text in self.libraries.values()]
        return "".join((self._first, self._head, *made, read(f"{self.name}.lua")))

    @cached_property
    def libraries(self) -> dict[str, str]:
        """Name -> text of those of ``lua/lib`` that are in front of it, in order."""
        parts: dict[str, str] = {}

        def add(library: str) -> None:
            if library not in parts:
                text, uses = library_of(library)
                for used in uses:
                    add(used)
                parts[library] = text

        for used in uses_of(read(f"{self.name}.lua")):
            add(used)
        return parts

    @cached_property
    def sha(self) -> str:
        """The name that Redis knows it by."""
        return hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324 - Redis names scripts by it

    @cached_property
    def function(self) -> Function | None:
        """The same as a function, or None for a script that is none."""
        if not self.stays:
            return None
        at_once = [name for name, text in self.libraries.items() if FRESH in text and AT_ONCE.search(text)]
        fresh = "\n".join(f"fresh_{name}()" for name in at_once)
        libraries = self._head + "".join(
            AT_ONCE.sub(r"local \1, fresh_\1 = (function()", text) if name in at_once else text
            for name, text in self.libraries.items()
        )
        main = read(f"{self.name}.lua")

        def called(name: str) -> str:
            return FUNCTION.format(name=name, libraries=libraries, fresh=fresh, main=main, first=self._first)

        name = f"mocra_{self.name}_{hashlib.sha256(called('').encode()).hexdigest()[:16]}"
        return Function(name, called(name))

    @cached_property
    def in_cluster(self) -> Script:
        """The same for a cluster."""
        return Script(self.name, self._text, stays=self.stays, first=NOT_WHILE_MOVING, head=self._head)

    def behind(self, head: str) -> Script:
        """The same with *head* in front of the libraries."""
        return Script(self.name, self._text, stays=self.stays, first=self._first, head=head)


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


def load_script(name: str, *, stays: bool = False) -> Script:
    """``lua/<name>.lua``; *stays*: see :class:`Script`."""
    return Script(name, stays=stays)
