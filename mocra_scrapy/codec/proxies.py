"""A proxy is stored without what only this process may know: its user name and password."""

from __future__ import annotations

from typing import Any
from urllib.request import getproxies

from mocra_scrapy.models.proxies import MARK, is_of_pool
from mocra_scrapy.models.redaction import without_user_info

#: What HttpProxyMiddleware puts into ``meta`` for a proxy of the environment (``http_proxy``).
FROM_ENVIRONMENT = frozenset({"proxy", "_auth_proxy", "_scheme_proxy"})


def without_credentials(meta: dict[str, Any]) -> dict[str, Any]:
    """*meta* with the proxy's address but not its user name and password.

    A proxy that HttpProxyMiddleware took from the environment is left out whole: whoever fetches
    the request next asks its own environment, and has the password, too. So is one that the pool
    chose: it chooses anew.
    """
    if is_of_pool(meta):
        return {key: value for key, value in meta.items() if key not in FROM_ENVIRONMENT and key != MARK}
    proxy = meta.get("proxy")
    # The mark alone says nothing: meta that was copied from a response has it, too, beside a proxy
    # of the spider's own.
    if meta.get("_scheme_proxy") and (not isinstance(proxy, str) or _is_of_environment(proxy)):
        return {key: value for key, value in meta.items() if key not in FROM_ENVIRONMENT}
    clean = {key: value for key, value in meta.items() if key not in ("_auth_proxy", MARK)}
    if isinstance(proxy, str):
        clean["proxy"] = without_user_info(proxy)
    return clean


def _is_of_environment(proxy: str) -> bool:
    return _host(proxy) in {_host(url) for url in getproxies().values()}


def _host(url: str) -> str:
    """Host and port of a proxy, as Scrapy keeps them: without user info and path."""
    return url.rpartition("//")[2].rpartition("@")[2].partition("/")[0]
