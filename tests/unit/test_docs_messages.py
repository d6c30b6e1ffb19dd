"""docs/guides/troubleshooting: whoever searches it for the words of a warning or error finds them.

Held against the code: each message that is logged at WARNING or above, and each MocraError that is
raised.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import mocra_scrapy
from mocra_scrapy import exceptions

ROOT = Path(mocra_scrapy.__file__).parent
PAGE = ROOT.parent / "docs" / "guides" / "troubleshooting.rst"
LEVELS = {"warning", "error", "critical", "exception"}
ERRORS = {
    name for name, cls in vars(exceptions).items() if isinstance(cls, type) and issubclass(cls, exceptions.MocraError)
}
#: Words that are too few to be searched for: with fewer between its holes all of a message's are looked for.
FEW = 3
ENOUGH = 60  # characters to search for

#: File or folder -> why its errors (not what it logs) need no entry of their own.
PASSED_ON = {
    "settings/": "one entry for all: each says the setting, what is wrong with it and what may stand there",
    "backends/redis/connection/url.py": "as settings: it names the part of the URL or the option",
    "backends/kafka/address.py": "as settings: it names the URL or the option, and the fix",
    "backends/kafka/client.py": "besides those with entries: what librdkafka said, and the extra that is missing",
    "backends/kafka/topics.py": "besides those with entries: a difference of a topic that is fatal, with the command that mends it",
    "backends/kafka/reader_thread.py": "what the log gets, with its traceback, which has an entry",
    "backends/kafka/reading_trouble.py": "besides those with entries: a table of what is wrong and the fix, each with an entry",
    "backends/redis/seed_keys.py": "besides the wrong type: what the server said, with the rights that the key needs",
    "control/live_settings.py": "an answer to the person who changes a setting, with the setting and the fix",
    "control/__init__.py": "an answer to the person who gives an order",
    "control/slots.py": "an answer to the person who changes a slot, with the slot and the fix",
    "cache/httpcache/archives.py": "an answer to the person who exports or imports pages, with the file and the fix",
    "cache/httpcache/archive_reading.py": "as archives.py; and what is told of an entry, within a line that has the file and the entry",
    "commands/": "an answer to what a person typed, with the argument and the fix",
    "coordination/locks.py": "besides LockLost and LockTimeout: an argument of a call in the reader's own code",
    "coordination/leadership.py": "arguments of a call in the reader's own code",
    "coordination/shared_values.py": "arguments of a call in the reader's own code",
    "codec/": "the reason within 'Unable to serialize request' and 'can't be read', which have entries",
    "cache/options.py": "arguments of a call in the reader's own code",
    "cache/compression.py": "the reason within 'can't be read and counts as missing', which has an entry",
    "cache/values.py": "as compression.py; and why a value of the reader's own code can't be stored",
    "backends/embedded/runs.py": "the same words as of Redis, which have an entry",
    "worker/overdue.py": "never raised: what `spider_error` gets; the words are those of the dead letter, which have an entry",
    "runtime/joining.py": "besides living workers, which have an entry: what the server refused of a deletion",
    "proxies/providers/": "as settings: it names the provider, what is wrong with it and the fix",
    "backends/redis/proxies.py": "the same words as of other damaged keys, which have an entry",
    "pipelines/": "the reason within 'Items can't be stored', 'refused it' and 'is away while this worker closes', which have entries",
    "models/sessions.py": "arguments of a call in the reader's own code",
    "feeds/plans.py": "why a format can't be shared; an entry says what all of them mean",
    "cron/config.py": "besides the missing file: file, line, what is wrong and the fix, as of a compiler",
    "cron/file_state.py": "besides the second runner: a folder, what the system said and the fix",
    "cron/folder.py": "a folder, what the system said and the fix",
    "cron/job_store.py": "besides the race: names the setting and the fix",
    "backends/redis/connection/errors.py": "besides those with entries: what the server said, word by word",
    "backends/redis/connection/server_check.py": "its words come from _refuse, and are looked for below",
    "backends/redis/connection/diagnosis.py": "its words come from _wrong, and are looked for below",
}
#: What is logged and has no words of its own -> where these come from.
ONLY_HOLES = {
    ("engine/refusal.py", "%s"): "the error's own",
    ("cron/job_store.py", "%s"): "the error's own",
    ("runtime/__init__.py", "Backend %s: %s"): "the warnings of server_check, looked for below",
}


@dataclass(frozen=True)
class Message:
    file: str
    logged: bool
    text: str

    @property
    def parts(self) -> list[str]:
        """What stands between the holes."""
        parts = re.split(r"%(?:[-+#0 ]*\d*(?:\.\d+)?[a-zA-Z])|\0", self.text)
        return [part for text in parts if (part := re.sub(r"\s+", " ", text).strip(" .,;:()\"'"))]

    @property
    def words(self) -> str:
        """The beginning of the longest of these: what somebody would search for."""
        longest = max(self.parts, key=len, default="")
        return longest if len(longest) <= ENOUGH else longest[:ENOUGH].rpartition(" ")[0].rstrip(",;:.")

    def is_on(self, page: str) -> bool:
        if len(self.words.split()) >= FEW:
            return self.words in page
        return len(self.parts) > 0 and bool(re.search(r".{1,30}?".join(map(re.escape, self.parts)), page))


def _text(node: ast.expr) -> str:
    """A text with its holes as NUL."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.IfExp):
        return _text(node.body)
    return "\0"


def _messages_of(path: Path) -> Iterator[Message]:
    file = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr in LEVELS and ast.unparse(called.value) == "logger":
            yield Message(file, True, _text(node.args[0]))
        elif isinstance(called, ast.Name) and called.id in ERRORS:
            # Of a ConfigurationError the problem; its subject is a setting.
            problem = (
                node.args[1:2] if issubclass(getattr(exceptions, called.id), exceptions.ConfigurationError) else ()
            )
            yield Message(file, False, _text(*(problem or node.args[:1])))


@cache
def messages() -> list[Message]:
    """Of the whole package. Not at import: each process that collects tests would read all files."""
    return list(dict.fromkeys(message for path in sorted(ROOT.rglob("*.py")) for message in _messages_of(path)))


@cache
def _page() -> str:
    return re.sub(r"\s+", " ", PAGE.read_text(encoding="utf-8").replace("``", ""))


def _is_passed_on(message: Message) -> bool:
    if message.logged:
        return (message.file, message.text) in ONLY_HOLES
    return any(message.file.startswith(place) for place in PASSED_ON)


def test_all_are_seen() -> None:
    """The collector itself: a rename of ``logger`` would make this file empty."""
    assert sum(message.logged for message in messages()) >= 60
    assert sum(not message.logged for message in messages()) >= 130


def test_each_message_has_an_entry() -> None:
    def wrong(message: Message) -> str:
        if sum(len(part.split()) for part in message.parts) < 2:
            return f"{message.text!r} says too little to be found"
        return "" if message.is_on(_page()) else f"{PAGE.name} has no entry with the words {message.words!r}"

    judged = [message for message in messages() if not _is_passed_on(message)]
    found = [f"{message.file}: {said}" for message in judged if (said := wrong(message))]
    assert not found, "\n".join(found)


def test_what_is_passed_on_is_there() -> None:
    for place in PASSED_ON:
        assert any(message.file.startswith(place) and not message.logged for message in messages()), place
    for file, text in ONLY_HOLES:
        assert any((message.file, message.text) == (file, text) for message in messages()), (file, text)


@pytest.mark.parametrize("module", ["server_check", "diagnosis"])
def test_what_a_function_of_its_own_words_has_entries(module: str) -> None:
    """``_refuse(url, problem, fix)``, ``_wrong(target, problem, fix)``, and the warnings of a list."""
    tree = ast.parse((ROOT / "backends" / "redis" / "connection" / f"{module}.py").read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in ("_refuse", "_wrong", "_other_scheme"):
            found.append(_text(node.args[1]))
        elif name == "warnings.append":
            found.append(_text(node.args[0]))
    assert len(found) >= 7
    for text in found:
        words = Message(module, True, text).words
        # "is Redis 5.0": its entry says what is needed. _other_scheme has a hole only.
        assert words in ("is Redis", "the server") or words in _page(), words
