"""What the add-on puts in place of Scrapy's own, and when it does not."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Spider
from scrapy.core.downloader.middleware import DownloaderMiddlewareManager
from scrapy.downloadermiddlewares import robotstxt
from scrapy.downloadermiddlewares.httpcache import HttpCacheMiddleware
from scrapy.downloadermiddlewares.retry import RetryMiddleware as Theirs
from scrapy.settings import Settings
from scrapy.utils.misc import load_object

from mocra_scrapy import Addon
from mocra_scrapy.downloadermiddlewares.feedback import FeedbackMiddleware
from mocra_scrapy.downloadermiddlewares.retry import RetryMiddleware
from mocra_scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from mocra_scrapy.downloadermiddlewares.throttle import ThrottleMiddleware
from mocra_scrapy.exceptions import ConfigurationError

THEIRS = "scrapy.downloadermiddlewares.retry.RetryMiddleware"


class Mine(Theirs):
    pass


def middlewares(**settings: Any) -> list[type]:
    """The downloader middlewares of a crawl with the add-on."""
    given = Settings(settings)
    Addon(type("C", (), {"spidercls": Spider})()).update_settings(given)  # type: ignore[arg-type]
    found = [load_object(path) for path in DownloaderMiddlewareManager._get_mwlist_from_settings(given)]
    return [cls for cls in found if cls not in (FeedbackMiddleware, ThrottleMiddleware)]


def test_ours_stands_where_scrapys_stood() -> None:
    plain = [load_object(p) for p in DownloaderMiddlewareManager._get_mwlist_from_settings(Settings())]
    ours = {Theirs: RetryMiddleware, robotstxt.RobotsTxtMiddleware: RobotsTxtMiddleware}
    assert middlewares() == [ours.get(cls, cls) for cls in plain]


@pytest.mark.parametrize(
    ("said", "retrying"),
    [
        ({THEIRS: None}, []),
        ({THEIRS: None, Mine: 550}, [Mine]),
        ({THEIRS: 10}, [Theirs]),
        ({"mocra_scrapy.downloadermiddlewares.retry.RetryMiddleware": None}, []),
        ({"mocra_scrapy.downloadermiddlewares.retry.RetryMiddleware": 10}, [RetryMiddleware]),
    ],
)
def test_the_project_has_the_last_word(said: dict[Any, Any], retrying: list[type]) -> None:
    assert [cls for cls in middlewares(DOWNLOADER_MIDDLEWARES=said) if issubclass(cls, Theirs)] == retrying


def test_a_cached_answer_books_no_departure() -> None:
    """The throttle stands behind the HTTP cache, and what it lets through goes to the downloader."""
    given = Settings({"HTTPCACHE_ENABLED": True})
    Addon(type("C", (), {"spidercls": Spider})()).update_settings(given)  # type: ignore[arg-type]
    found = [load_object(path) for path in DownloaderMiddlewareManager._get_mwlist_from_settings(given)]
    assert found.index(HttpCacheMiddleware) < found.index(ThrottleMiddleware) < found.index(FeedbackMiddleware)
    assert found[-1] is FeedbackMiddleware


@pytest.mark.parametrize("url", ["nonsense", "memory://a/b", "redis://host/x"])
def test_a_wrong_url_is_refused_in_a_crawl_and_not_in_a_command_for_people(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mocra_scrapy.addon.one_off_command", lambda: "shell")
    middlewares(MOCRA_BACKEND=url)
    monkeypatch.setattr("mocra_scrapy.addon.one_off_command", lambda: None)
    with pytest.raises(ConfigurationError, match="MOCRA_BACKEND"):
        middlewares(MOCRA_BACKEND=url)


def test_an_emptied_base_stays_empty() -> None:
    assert middlewares(DOWNLOADER_MIDDLEWARES_BASE={}) == []
