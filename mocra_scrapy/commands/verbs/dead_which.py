"""Which dead letters are meant: times, numbers and names on the command line."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from scrapy.spiderloader import get_spider_loader

from mocra_scrapy.settings.checks import SECONDS
from mocra_scrapy.settings.crawl import Options, read_options
from mocra_scrapy.settings.identity import settings_project

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings


def point_in_time(text: str) -> float:
    """``2h`` (ago), ``2026-01-31``, ``2026-01-31T08:00+01:00`` (UTC without a zone), or seconds
    since the epoch.
    """
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if ago:
        return time.time() - float(ago[1]) * SECONDS[ago[2]]
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: write 2h, 30m, 7d, or 2026-01-31T08:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


class UsageProblem(Exception):
    """The command line makes no sense; the text says what would."""


def which_crawl(settings: BaseSettings, options: argparse.Namespace) -> tuple[Options, list[str]]:
    """The settings of the crawl that is meant, and the IDs."""
    ids = list(options.words)
    if options.crawl is not None:
        return read_options(settings, options.crawl), ids
    if not ids:
        raise UsageProblem(f"Whose? scrapy mocra dead {options.action} SPIDER, or --crawl NAME")
    name = ids.pop(0)
    loader = get_spider_loader(settings)
    try:
        name = name.removeprefix(f"{settings_project(settings)}:")
        loader.load(name).update_settings(settings)
    except KeyError:
        if ":" in name:  # of another project, or of a MOCRA_CRAWL
            options.crawl = name
            return read_options(settings, name), ids
        known = ", ".join(sorted(loader.list())) or "none: is this the folder of a project?"
        raise UsageProblem(
            f"There is no spider {name!r}. Spiders: {known}. For a crawl by its name: --crawl NAME"
        ) from None
    return read_options(settings, name), ids
