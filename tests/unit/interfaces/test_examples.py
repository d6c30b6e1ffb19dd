"""The contracts teach: each of the central ones has an example that runs, and races have a
timeline.
"""

from __future__ import annotations

import ast
import re
import textwrap
from inspect import cleandoc
from types import CodeType
from typing import Any

import pytest
from zope.interface.interface import InterfaceClass

from mocra_scrapy.interfaces import ICache, IElection, ILocks, IRateLimiter, IRequestQueue, IShared

WITH_EXAMPLE = [IRequestQueue, IElection, ILocks, IShared, ICache, IRateLimiter]
#: Contract -> the method whose docstring has the timeline; "": the contract's own.
TIMELINES = [(IElection, ""), (IShared, "put"), (IRequestQueue, "exchange"), (IRequestQueue, "claim_seeding")]
BLOCK = re.compile(r"::\n\n((?:    .*\n|\n)+)")


def blocks(doc: str) -> list[str]:
    return [textwrap.dedent(block).strip() for block in BLOCK.findall(cleandoc(doc) + "\n")]


@pytest.mark.parametrize("contract", WITH_EXAMPLE, ids=lambda contract: contract.__name__)
async def test_examples_run(contract: InterfaceClass) -> None:
    (code,) = [block for block in blocks(contract.__doc__) if "open_backend" in block]
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith(("from ", "#"))]
    assert len(lines) <= 10, "an example fits into one look"
    compiled = compile(code, contract.__name__, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(compiled, CodeType)
    names: dict[str, Any] = {}
    await eval(compiled, names)
    await names["backend"].close()


@pytest.mark.parametrize(("contract", "method"), TIMELINES, ids=lambda part: getattr(part, "__name__", part))
def test_races_have_a_timeline(contract: InterfaceClass, method: str) -> None:
    doc = contract[method].__doc__ if method else contract.__doc__
    (timeline,) = [block for block in blocks(doc) if block.startswith("time:")]
    moments = [int(moment) for moment in re.findall(r"^time: +(\d+),", timeline, re.MULTILINE)]
    assert len(moments) >= 4
    assert moments == sorted(moments)
