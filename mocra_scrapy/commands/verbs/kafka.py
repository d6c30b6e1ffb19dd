"""``scrapy mocra kafka create-topics|topics``: the log of a crawl's requests."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from scrapy.commands import ScrapyCommand
from scrapy.spiderloader import get_spider_loader

from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.admin import Admin
from mocra_scrapy.backends.kafka.client import need_client
from mocra_scrapy.backends.kafka.log_names import Log, LogNames
from mocra_scrapy.backends.kafka.topics import CREATE, Difference, TopicFacts, compare, create_log, look_at_log
from mocra_scrapy.exceptions import ConfigurationError, MocraError
from mocra_scrapy.models.backends import scheme_of
from mocra_scrapy.models.wording import counted
from mocra_scrapy.settings.backends import QUEUE, read_backends
from mocra_scrapy.settings.identity import settings_project

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

FINE, WRONG = 0, 1


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Create the topics of a crawl's log, as the settings MOCRA_KAFKA_… say, or compare those that are
    there with what the crawl needs. Exit code 1: something is missing, differs, or can't be done.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("action", choices=("create-topics", "topics"), metavar="create-topics|topics")
        parser.add_argument("crawl", help="its name (project:spider), or the spider's")
        parser.add_argument("--dry-run", action="store_true", help="create-topics: brokers check it and create nothing")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        assert command.settings is not None
        try:
            log = log_of(command.settings, options.crawl)
            if log is None:
                raise ConfigurationError(
                    QUEUE, "this crawl has no queue on Kafka", 'Set it, as "kafka://localhost:9092"'
                )
            admin = Admin(log.address)
            if options.action == "create-topics":
                return _create(admin, log, options.dry_run)
            lines, code = told(admin, log)
        except MocraError as error:
            print(f"Error: {error}", file=sys.stderr)
            return WRONG
        print("\n".join(lines))
        return code


def log_of(settings: BaseSettings, name: str) -> Log | None:
    """The log of the crawl that is meant by *name* (``project:spider``, or the spider's): with the
    settings of the spider, if the project has it. ``None``: its queue is not on Kafka.

    Raises:
        ConfigurationError: a setting is wrong, or the client is missing.
    """
    project = settings_project(settings)
    spider = name.removeprefix(f"{project}:")
    loader = get_spider_loader(settings)
    if project is not None and spider in loader.list():
        loader.load(spider).update_settings(settings)
    crawl = settings.get("MOCRA_CRAWL") or (name if project is None or ":" in name else f"{project}:{name}")
    choice = read_backends(settings)
    if scheme_of(choice.queue) != "kafka":
        return None
    place = choice.queue_setting
    need_client(place, "it")
    address = read_address(place, choice.queue, choice.kafka, takes_prefix=True)
    names = LogNames(choice.prefix if address.prefix is None else address.prefix, crawl)
    return Log(address, names, choice.log, place)


def _create(admin: Admin, log: Log, dry_run: bool) -> int:
    """What there is already is not changed, and compared."""
    there = look_at_log(admin, log)
    created = create_log(admin, log, dry_run=dry_run)
    options = log.options
    what = (
        f"{counted(options.partitions, 'partition')}, replication {options.replication},"
        f" min.insync.replicas {options.min_insync}"
    )
    for topic in created:
        print(f"{'Would create' if dry_run else 'Created'} {topic}: {what}")
    differences = [difference for facts in there.values() for difference in compare(facts, options)]
    if there:
        print(f"{counted(len(there), 'topic')} of {log.names.group} {'is' if len(there) == 1 else 'are'} there already")
    for difference in differences:
        print(_line(difference))
    return WRONG if differences else FINE


def told(admin: Admin, log: Log) -> tuple[list[str], int]:
    """Lines about the topics that are there, and the exit code. Blocks.

    Raises:
        BackendUnavailable, ConfigurationError: brokers don't say.
    """
    there = look_at_log(admin, log)
    lines = [_facts(there[tier]) for tier in log.names.topics() if tier in there]
    differences = [difference for facts in there.values() for difference in compare(facts, log.options)]
    missing = [topic for tier, topic in log.names.topics().items() if tier not in there]
    if missing:
        lines.append(f"topic {missing[0]}{f' and {len(missing) - 1} more' * (len(missing) > 1)}: missing. {CREATE}")
    lines += [_line(difference) for difference in differences]
    if not (missing or differences):
        lines.append("The topics are as the settings say")
    return lines, WRONG if missing or differences else FINE


def _facts(facts: TopicFacts) -> str:
    insync = facts.config.get("min.insync.replicas", "?")
    return (
        f"{facts.name}: {counted(facts.partitions, 'partition')}, replication {facts.replication},"
        f" min.insync.replicas {insync}, retention.ms {facts.config.get('retention.ms', '?')}"
    )


def _line(difference: Difference) -> str:
    return f"{'WRONG' if difference.fatal else 'differs'}: {difference}"
