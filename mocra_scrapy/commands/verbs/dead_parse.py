"""``scrapy mocra dead parse``: the callback of a dead letter's request, run against the response that is
kept, offline. Nothing that is stored changes.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from itemadapter import ItemAdapter
from scrapy.spiderloader import get_spider_loader
from scrapy.utils import display
from scrapy.utils.conf import arglist_to_dict

from mocra_scrapy.codec.requests import load_codec
from mocra_scrapy.commands.verbs.dead_responses import tell_if_cut
from mocra_scrapy.commands.verbs.dead_which import UsageProblem
from mocra_scrapy.engine.offline import run_offline
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import Job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy import Request, Spider
    from scrapy.http import Response
    from scrapy.settings import Settings

    from mocra_scrapy.codec.responses import StoredResponse
    from mocra_scrapy.engine.offline import Outcome
    from mocra_scrapy.models import DeadLetter
    from mocra_scrapy.settings.crawl import Options


@dataclass(frozen=True, slots=True)
class Found:
    """What is stored of a letter and of its crawl."""

    letter: DeadLetter
    response: StoredResponse
    job: Job | None
    chosen: Options

    def page(self, spider: Spider) -> tuple[Request, Response]:
        """The request as it is stored, without its count of failures, and its response.

        Raises:
            UnreadablePayload: *spider* can't read it.
        """
        request = load_codec(self.chosen.codec, spider, self.chosen.entry_max_bytes).decode(self.letter.body)
        request.meta.pop("mocra_failures", None)
        request.meta.pop("mocra_entry", None)
        return request, self.response.answering(request)


def parse(found: Found, settings: Settings, options: argparse.Namespace) -> int:
    """Run it and print what came of it; the exit code.

    Raises:
        ConfigurationError: an argument of the crawl is not known.
    """
    loader, job, project = get_spider_loader(settings), found.job, found.chosen.project
    name = options.words[0] if options.crawl is None else job.spider if job else ""
    name = name if name in loader.list() else name.rpartition(":")[2]
    if name not in loader.list() or (job is not None and job.project != project):
        whose = f"spider {job.spider!r} of project {job.project!r}" if job else "a spider that nobody knows"
        raise UsageProblem(f"The crawl is of {whose}; call this in the folder of that project (here: {project!r})")
    arguments = arguments_of(job, options)
    tell_if_cut(found.response)
    outcome = run_offline(settings, loader.load(name), arguments, found.page, pipelines=options.pipelines)
    return print_outcome(outcome, found.response.status)


def arguments_of(job: Job | None, options: argparse.Namespace) -> dict[str, str]:
    """Those with which the crawl was started; what the command line says wins.

    Raises:
        ConfigurationError: one of them is stored for comparison only: a secret, or a long one.
    """
    try:
        given: dict[str, str] = arglist_to_dict(options.arguments)
    except ValueError:
        raise UsageProblem("Invalid -a value, use -a NAME=VALUE") from None
    return {**(_stored_arguments(job, given) if job is not None else {}), **given}


def _stored_arguments(job: Job, given: Mapping[str, str]) -> dict[str, str]:
    known = {name: kept.shown for name, kept in job.arguments.items() if name not in given and name[0] != "#"}
    same = Job.of(job.project, job.spider, known).arguments
    for name, text in known.items():
        if same[name].digest != job.arguments[name].digest:
            raise ConfigurationError(
                f"-a {name}", f"of its value only {text!r} is stored", f"Say it once more: -a {name}=VALUE"
            )
    return known


def print_outcome(outcome: Outcome, status: int) -> int:
    """As ``scrapy parse`` does, failures to standard error; 1 where there are some."""
    print("# Scraped Items ", "-" * 60)
    display.pprint([ItemAdapter(item).asdict() for item in outcome.items])
    print("# Requests ", "-" * 65)
    display.pprint(outcome.requests)
    sys.stdout.flush()
    for failure in outcome.failures:
        print(failure.rstrip(), file=sys.stderr)
    if outcome.ignored:
        print(
            f"The callback was not called: Scrapy's HttpErrorMiddleware ignores responses with status {status}, here as in"
            " a crawl (handle_httpstatus_list, HTTPERROR_ALLOWED_CODES)",
            file=sys.stderr,
        )
    return int(bool(outcome.failures) or outcome.ignored)
