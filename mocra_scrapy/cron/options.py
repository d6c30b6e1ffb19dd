"""The settings of the cron runner, read once and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy.settings import SETTINGS_PRIORITIES
from scrapy.utils.conf import closest_scrapy_cfg

from mocra_scrapy.cron.config import Source, find_source
from mocra_scrapy.cron.job_store import Address
from mocra_scrapy.settings.crawl import read_options
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy.settings import BaseSettings


@dataclass(frozen=True, slots=True)
class CronOptions:
    """What runner, worker and people's commands need to know.

    Attributes:
        address: where the state is.
        project: the project's folder: crawls run in it, the jobs file stands in it.
        lease: s without a sign of life after which a run counts as lost.
        given: settings of the command line (``-s``), which are handed on to the crawls.
        start_timeout: s to wait for the backend.
    """

    address: Address
    project: Path
    source_setting: Any
    lease: float
    given: Mapping[str, Any]
    start_timeout: float

    def source(self) -> Source:
        """Where the jobs are written.

        Raises:
            ConfigurationError: nowhere.
        """
        return find_source(self.source_setting, self.project)


def project_folder() -> Path:
    """The folder of the ``scrapy.cfg`` that is in force; the working folder if there is none."""
    config = closest_scrapy_cfg()
    return Path(config).resolve().parent if config else Path.cwd()


def read_cron_options(settings: BaseSettings, file: str | None = None) -> CronOptions:
    """The checked settings; *file*: a jobs file in place of what ``MOCRA_CRON`` says, from the
    working folder.

    Raises:
        ConfigurationError: names the setting and the fix.
    """
    read, common, project = SettingsReader(settings), read_options(settings, "cron"), project_folder()
    name = common.project if read.value("MOCRA_CRON_NAME") is None else read.text("MOCRA_CRON_NAME", "a name")
    source = settings.get("MOCRA_CRON")
    if hasattr(source, "copy_to_dict"):
        source = source.copy_to_dict()
    return CronOptions(
        address=Address(
            url=common.backends.state,
            prefix=common.key_prefix,
            name=name,
            folder=str(project / read.text("MOCRA_CRON_DIR", "a folder")),
            options=common.redis_options,
        ),
        project=project,
        source_setting=Path.cwd() / file if file else source,
        lease=read.number("MOCRA_CRON_LEASE", 1, 3600, "a time in seconds"),
        given={
            name: settings.get(name)
            for name in settings
            if settings.getpriority(name) == SETTINGS_PRIORITIES["cmdline"]
        },
        start_timeout=common.start_timeout,
    )
