"""Whether a Lua library of a function keeps the rules of ``lua/lib/lazy.lua``: nothing of one call is left for the next.

It reads the text: library level is what is indented by four blanks, the level of a part of ``lazy.with_rest`` by eight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

HEAD = re.compile(r"^local (\w+) = (lazy\.library\(function\(\)|\(function\(\))$", re.MULTILINE)
FRESH = re.compile(r"^    local function fresh\(\)\n(.*?)^    end\n", re.MULTILINE | re.DOTALL)
LOCALS = re.compile(r"^    local (?!function)([\w, ]+?)(?: = (.*?))?(?: +--.*)?$", re.MULTILINE)
REST = re.compile(r"^    lazy\.with_rest\(\w+, function\(\)[^\n]*\n(.*?)^    end\)\n", re.MULTILINE | re.DOTALL)
#: What a statement that is no ``local`` assigns: names, fields, places of tables.
TARGETS = re.compile(r"(?:^|then |else |do |; )\s*([\w.]+(?:\[[^=]*?\])?(?:, [\w.]+(?:\[[^=]*?\])?)*) = ", re.MULTILINE)
CONSTANT = re.compile(r"-?[\d.e]+|'[^']*'|redis\.call|nil")


def code(text: str) -> str:
    """Without comments."""
    return re.sub(r" *--.*", "", text)


def assigned(text: str) -> set[str]:
    """``name``, ``library.field`` or ``name[]`` of each assignment."""
    found = set()
    for match in TARGETS.finditer(code(text)):
        if not match[0].strip().startswith("local "):
            found |= {re.sub(r"\[.*\]", "[]", one.strip()) for one in split(match[1])}
    return found


def split(listed: str) -> list[str]:
    """At commas that are in no brackets."""
    return [one.strip() for one in re.split(r",(?![^{(\[]*[})\]])", listed)]


def state_of(text: str) -> set[str]:
    """What ``fresh()`` of a library sets."""
    fresh = FRESH.search(text)
    return assigned(fresh[1]) if fresh else set()


def faults(name: str, libraries: Mapping[str, str]) -> list[str]:
    """What breaks a rule in library *name*, in words. *libraries*: name -> text, of all of the function."""
    text = libraries[name]
    head = HEAD.search(text)
    if head is None:
        return []  # a plain function
    fresh = state_of(text)
    found = [*of_locals(name, text, fresh, libraries), *of_fields(text, libraries), *of_rest(text)]
    returned = re.search(r"^    return .*?(, fresh)?\nend\)(?:\(\))?\n\Z", text, re.MULTILINE | re.DOTALL)
    if FRESH.search(text) and not (returned and returned[1]):
        found.append("it does not return its fresh()")
    return found


def of_locals(name: str, text: str, fresh: set[str], libraries: Mapping[str, str]) -> list[str]:
    found, constants = [], set()
    outside = FRESH.sub("", text)
    anywhere = assigned(outside)
    for match in LOCALS.finditer(REST.sub("", outside)):
        names = [one.strip() for one in match[1].split(",")]
        if match[2] is None:
            found += [f"{one} is not set by fresh()" for one in names if one not in fresh | {name}]
            continue
        constants |= set(names)
        for one in split(match[2]):
            if not is_constant(one, libraries):
                found.append(f"{', '.join(names)} = {one} is neither a constant nor a function")
    for one in constants - {name}:
        if {one, f"{one}[]"} & anywhere or any(target.startswith(f"{one}.") for target in anywhere):
            found.append(f"{one} is changed, and not by fresh() alone")
    return found


def is_constant(value: str, libraries: Mapping[str, str]) -> bool:
    library, _, field = value.partition(".")
    if library in libraries and field:
        eager = HEAD.search(libraries[library])
        return eager is not None and eager[2] == "(function()" and value not in state_of(libraries[library])
    return bool(CONSTANT.fullmatch(value)) or value.startswith("{") or value == "not KEYS"


def of_fields(text: str, libraries: Mapping[str, str]) -> list[str]:
    """Fields of libraries that *text* sets are set by the fresh() of these."""
    found = []
    functions = set(re.findall(r"local function (\w+)", text))
    for target in assigned(FRESH.sub("", text)):
        library, _, field = target.partition(".")
        if library not in libraries or not field or field.rstrip("[]") in functions:
            continue
        if target.removesuffix("[]") not in state_of(libraries[library]):
            found.append(f"{target} is not set by fresh()")
    return found


def of_rest(text: str) -> list[str]:
    """A part that is made later has no state."""
    rest = REST.search(text)
    lines = re.findall(r"^        local (?!function)(.*?)(?: +--.*)?$", rest[1], re.MULTILINE) if rest else []
    return [
        f"local {line} is in lazy.with_rest" for line in lines if not re.fullmatch(r"[A-Z_]+ = (?:'[^']*'|\d+)", line)
    ]
