"""No call of the function finds anything of the one before: what a library notes is made anew, in one place."""

from __future__ import annotations

import pytest

from mocra_scrapy.backends.redis.queue import EXCHANGE
from tests.unit.backends.lua_state import faults, state_of

LIBRARIES = EXCHANGE.libraries


@pytest.mark.parametrize("name", [name for name in LIBRARIES if name != "lazy"])
def test_what_a_library_notes_is_made_anew_by_each_call(name: str) -> None:
    assert faults(name, LIBRARIES) == []


def test_the_check_reads_what_libraries_note() -> None:
    assert {"olds", "new", "heads"} <= state_of(LIBRARIES["filter"])
    assert {"meta.pending", "meta.rules", "meta.silence", "key"} <= state_of(LIBRARIES["meta"])
    assert {"leases.count", "leases.groups", "groups"} <= state_of(LIBRARIES["leases"])
    assert sum(map(len, map(state_of, LIBRARIES.values()))) > 150


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        (
            "filter",
            "now, heads, olds = meta.now, {}, nil\n",
            "now, heads = meta.now, {}\n",
            "olds is not set by fresh()",
        ),
        (
            "leases",
            "leases.groups, leases.count = groups, 0\n",
            "leases.groups = groups\n",
            "leases.count is not set by fresh()",
        ),
        ("permits", "    local known  --", "    local known = {}  --", "known is changed, and not by fresh() alone"),
        (
            "quotas",
            "call, text = redis.call, meta.text",
            "call, text, now_us = redis.call, meta.text, meta.now_us",
            "now_us",
        ),
        (
            "quotas",
            "    local now_us, KEY\n",
            "    local now_us, KEY, opens_at = nil, nil, throttle.is_there\n",
            "throttle.is_there",
        ),
        ("turns", "    local GATE", "    local more\n    local GATE", "more is not set by fresh()"),
        (
            "permits",
            "        local function ask(",
            "        local asked = {}\n        local function ask(",
            "asked = {} is in lazy",
        ),
        ("log", "    return log, fresh\n", "    return log\n", "it does not return its fresh()"),
        (
            "stalled",
            "stalled.KEY, stalled.count, ",
            "stalled.KEY, stalled.all, ",
            "stalled.count is not set by fresh()",
        ),
    ],
)
def test_the_check_notices_what_would_be_left_for_the_next_call(name: str, old: str, new: str, fault: str) -> None:
    text = LIBRARIES[name]
    assert old in text
    wrong = {**LIBRARIES, name: text.replace(old, new, 1)}
    assert any(fault in one for one in faults(name, wrong)), faults(name, wrong)
