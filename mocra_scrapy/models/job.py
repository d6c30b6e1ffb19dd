"""What a crawl is of: project, spider, arguments. So a crawl is resumed only by its own job."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any

from mocra_scrapy.exceptions import OtherJob
from mocra_scrapy.models.redaction import MASK, redact

#: Characters of an argument's value that are kept for people.
SHOWN = 200


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def _text(value: Any) -> str:
    """*value* as a command line would give it, the same in each process: a script may pass objects."""
    if isinstance(value, Mapping):
        value = {f"{_text(name)}: {_text(part)}" for name, part in value.items()}
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(_text, value)))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    return _ADDRESS.sub("", str(value))


@dataclass(frozen=True, slots=True)
class Argument:
    """What is kept of an argument's value.

    Attributes:
        shown: for people: the value, without passwords of URLs, its beginning where it is long;
            ``***`` for a secret.
        digest: a hash of the whole value, keyed by project, spider and name: it says whether two are
            the same, and is no use elsewhere.
    """

    shown: str
    digest: str


@dataclass(frozen=True, slots=True)
class Job:
    """Who works on what. Code and settings are no part of it: a spider that was mended resumes its
    crawl.

    Attributes:
        project: whose spider it is.
        spider: its name.
        arguments: those of ``-a``, by name. Names that begin with an underscore are left out:
            scrapyd numbers each of its runs in ``_job``.
    """

    project: str
    spider: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)

    @classmethod
    def of(cls, project: str, spider: str, arguments: Mapping[str, Any], secrets: Iterable[str] = ()) -> Job:
        """*secrets*: patterns of the names of arguments whose values nobody may read."""
        patterns = [pattern.lower() for pattern in secrets]
        kept = {}
        for name, value in sorted(arguments.items()):
            if name.startswith("_"):
                continue
            text = _text(value)
            key = blake2b("\0".join((project, spider, name)).encode("utf-8", "surrogatepass")).digest()
            digest = blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()
            is_secret = any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
            shown = MASK if is_secret else redact(text)
            kept[name] = Argument(shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…", digest)
        return cls(project, spider, kept)

    @property
    def digest(self) -> str:
        """The same for two of the same job, and for no others."""
        digests = {name: argument.digest for name, argument in self.arguments.items()}
        facts = json.dumps([self.project, self.spider, digests], sort_keys=True)
        return blake2b(facts.encode(), digest_size=16).hexdigest()

    def to_text(self) -> str:
        """JSON, for the store."""
        arguments = {name: [argument.shown, argument.digest] for name, argument in self.arguments.items()}
        return json.dumps({"project": self.project, "spider": self.spider, "arguments": arguments})

    @classmethod
    def from_text(cls, text: str | bytes) -> Job:
        """Raises ValueError: it is none of ours."""
        try:
            data = json.loads(text)
            arguments = {str(name): Argument(str(a[0]), str(a[1])) for name, a in data["arguments"].items()}
            return cls(str(data["project"]), str(data["spider"]), arguments)
        except (TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"not a description of a job: {error!r}") from error

    def differences(self, stored: Job) -> list[str]:
        """What of this one is other than in *stored*, for people."""
        found = []
        for what in ("project", "spider"):
            mine, was = getattr(self, what), getattr(stored, what)
            if mine != was:
                found.append(f"the {what} is {mine!r}, was {was!r}")
        for name in sorted({*self.arguments, *stored.arguments}):
            is_now, was_then = self.arguments.get(name), stored.arguments.get(name)
            if was_then is None and is_now is not None:
                found.append(f"-a {name}={is_now.shown} is new")
            elif is_now is None and was_then is not None:
                found.append(f"-a {name}={was_then.shown} is missing")
            elif is_now is not None and was_then is not None and is_now.digest != was_then.digest:
                same = is_now.shown == was_then.shown
                found.append(
                    f"{name} is another one" if same else f"{name} is {is_now.shown!r}, was {was_then.shown!r}"
                )
        return found

    def refused_by(self, stored: Job | None, crawl: str) -> OtherJob:
        """The error for who wants to join *crawl*, which is *stored*'s (``None``: it can't be read)
        and not finished, for this one.
        """
        what = "; ".join(self.differences(stored)) if stored else "its record of it can't be read"
        ways = []
        if stored is not None and (stored.project, stored.spider) == (self.project, self.spider):
            ways.append(f"start it as it was begun, which finishes it ({stored.as_given or 'without -a'})")
        ways.append(f"give this job a name of its own (-s MOCRA_CRAWL={crawl}-2)")
        ways.append("delete what is left of the other one and start over (-s MOCRA_FRESH=1)")
        return OtherJob(
            f"crawl {crawl!r}", f"it is not finished, and of another job: {what}", f"Ways out: {'; '.join(ways)}"
        )

    @property
    def as_given(self) -> str:
        """Its arguments as on a command line."""
        return " ".join(f"-a {name}={argument.shown}" for name, argument in self.arguments.items())


@dataclass(frozen=True, slots=True)
class CrawlRecord:
    """What is known of a crawl beside its :class:`~mocra_scrapy.models.CrawlState`, for people.

    Attributes:
        job: whose crawl it is; ``None``: unknown.
        begun_at: when its run began, seconds since the epoch by the server's clock; ``None``:
            unknown.
        heard_at: when a worker last called.
        reset_by: who deletes the crawl, or died while it did; empty: nobody.
    """

    job: Job | None = None
    begun_at: float | None = None
    heard_at: float | None = None
    reset_by: str = ""
