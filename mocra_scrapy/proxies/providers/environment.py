"""The proxies of the environment: ``http_proxy``, ``https_proxy``, and ``no_proxy``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from urllib.request import getproxies

from mocra_scrapy.proxies.proxy import BadProxy, Proxy, parse_proxy
from mocra_scrapy.settings.proxies import ProviderOptions


class EnvironmentProvider:
    """``"environment"``: as Scrapy's own, ``http_proxy`` for requests of ``http``, ``https_proxy`` for
    those of ``https``, ``all_proxy`` for both.
    """

    def __init__(self, options: ProviderOptions) -> None:
        self._defaults: Mapping[str, object] = options.defaults

    async def proxies(self) -> Iterable[Proxy]:
        found, urls = [], getproxies()
        for scheme in ("http", "https"):
            url = urls.get(scheme) or urls.get("all")
            if not url:
                continue
            try:
                proxy = parse_proxy(url if "://" in url else f"http://{url}", self._defaults)
            except BadProxy as error:
                raise BadProxy(f"{scheme}_proxy: {error}") from None
            found.append(replace(proxy, bypassed=True, scheme_only=scheme))
        if len(found) == 2 and replace(found[0], scheme_only="") == replace(found[1], scheme_only=""):
            return [replace(found[0], scheme_only="")]
        return found
