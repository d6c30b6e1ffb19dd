"""Numbers with their nouns; and no message says "1 requests"."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mocra_scrapy
from mocra_scrapy.models.wording import counted, plural

#: A number's hole in a message, and a noun behind it that would be wrong for 1.
NOUNS = (
    "requests|workers|jobs|dead letters|pages|items|errors|failures|downloads|retries|shards|messages|runs|URLs|records"
)
UNCOUNTED = re.compile(rf"(?:%d|\}}) (?:more |other )?(?:{NOUNS})\b")
#: What is never 1, and why.
MANY = {
    "commands/verbs/site.py": "about so many pages: an estimate",
    "commands/verbs/cron_change.py": "a verb: a job runs",
    "backends/embedded/reclaiming.py": "1 has words of its own beside it",
}


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "request", "0 requests"),
        (1, "request", "1 request"),
        (2, "retry", "2 retries"),
        (1, "retry", "1 retry"),
        (1234, "dead letter", "1,234 dead letters"),
    ],
)
def test_counted(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


def test_a_part_is_no_one() -> None:
    assert plural(0.5, "page") == "pages"


def test_no_message_counts_by_hand() -> None:
    root = Path(mocra_scrapy.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if UNCOUNTED.search(path.read_text(encoding="utf-8"))
    }
    assert found == set(MANY), "use models.wording.counted"
