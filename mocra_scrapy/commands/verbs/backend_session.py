"""The one place where a command opens a backend, or the state of cron jobs, and closes it again.

::

    async with opened_backend(read_options(command.settings, "books")) as (backend, report):
        print(await backend.worker_registry().workers("books"))
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mocra_scrapy.backends.by_role import open_by_role
from mocra_scrapy.exceptions import ConfigurationError

if TYPE_CHECKING:
    from mocra_scrapy.cron.job_store import Store
    from mocra_scrapy.cron.options import CronOptions
    from mocra_scrapy.interfaces import IBackend
    from mocra_scrapy.models import ServerReport
    from mocra_scrapy.settings.crawl import Options


@asynccontextmanager
async def opened_backend(
    options: Options, timeout: float | None = None, *, private: bool = False
) -> AsyncIterator[tuple[IBackend, ServerReport]]:
    """The project's backend, open, and what it says of its server.

    Args:
        timeout: seconds to wait for an answer; ``None``: ``MOCRA_START_TIMEOUT``.
        private: whether one that no other process can see will do.

    Raises:
        ConfigurationError: the backend is private, or can't be used.
        BackendUnavailable: nobody answered in time.
    """
    backend = open_by_role(options.backends)
    if not (backend.shared or private):
        raise ConfigurationError(
            options.backends.queue_setting,
            f"{backend.url} keeps everything inside the process that crawls; there is nothing to look at",
            "Use a Redis URL, as in -s MOCRA_BACKEND=redis://localhost",
        )
    try:
        yield backend, await backend.open(options.start_timeout if timeout is None else timeout)
    finally:
        await backend.close()


@asynccontextmanager
async def opened_jobs(options: CronOptions) -> AsyncIterator[Store]:
    """The state of all cron jobs.

    Raises:
        ConfigurationError, BackendUnavailable: see :meth:`mocra_scrapy.cron.job_store.Store.open`.
    """
    from mocra_scrapy.cron.job_store import Store

    store = Store(options.address)
    try:
        await store.open(options.start_timeout)
        yield store
    finally:
        await store.close()
