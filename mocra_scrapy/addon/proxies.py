"""Places the proxy pool where ``MOCRA_PROXIES`` is set; else it is not even imported."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from scrapy.utils.misc import load_object

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.reader import touched

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

THEIRS = "scrapy.downloadermiddlewares.httpproxy.HttpProxyMiddleware"
OURS = "mocra_scrapy.downloadermiddlewares.httpproxy.HttpProxyMiddleware"
#: Beside it: where a request leaves, where its cookies were taken in, and where a body can be looked at.
BESIDE = {
    "mocra_scrapy.downloadermiddlewares.httpproxy.ProxyChoiceMiddleware": 1001,
    "mocra_scrapy.downloadermiddlewares.httpproxy.ProxyRetryMiddleware": 690,
    "mocra_scrapy.downloadermiddlewares.httpproxy.ProxyBodyMiddleware": 585,
}


def place_proxies(settings: BaseSettings) -> None:
    """Ours in the place of Scrapy's own, wherever the project has put that.

    Raises:
        ConfigurationError: a setting is wrong, or the project has switched Scrapy's own off.
    """
    if not touched(settings, "MOCRA_PROXIES"):
        return
    from mocra_scrapy.settings.proxies import read_proxies

    if read_proxies(settings) is None:
        return
    theirs, ours = load_object(THEIRS), load_object(OURS)
    name = "DOWNLOADER_MIDDLEWARES"
    own = {load_object(key): (key, order) for key, order in settings.getdict(name).items()}
    if not settings.getbool("HTTPPROXY_ENABLED") or (theirs in own and own[theirs][1] is None):
        raise ConfigurationError(
            "MOCRA_PROXIES",
            "the project switches proxies off (HTTPPROXY_ENABLED, or HttpProxyMiddleware: None)",
            "Take that out, or MOCRA_PROXIES",
        )
    if theirs in own:
        settings.replace_in_component_priority_dict(name, theirs, cast("type", OURS))
    elif ours not in own:
        with suppress(KeyError):  # a project has emptied the …_BASE
            settings.replace_in_component_priority_dict(f"{name}_BASE", theirs, cast("type", OURS))
        if ours not in {load_object(key) for key in settings.getdict(f"{name}_BASE")}:
            settings.setdefault_in_component_priority_dict(name, ours, 750)
    for path, order in BESIDE.items():
        settings.setdefault_in_component_priority_dict(name, load_object(path), order)
