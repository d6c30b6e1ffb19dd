"""One address behind which a service chooses: its user name says what is wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from string import Formatter

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.proxies.proxy import BadProxy, Proxy, check_options, parse_proxy
from mocra_scrapy.settings.checks import setting_number
from mocra_scrapy.settings.proxies import ProviderOptions

#: What a template may name.
WORDS = ("session", "country", "minutes")


class GatewayProvider:
    """``{"gateway": "http://user-country-{country}-session-{session}:password@gate:7000", …}``.

    ``{session}`` becomes the sticky key's digest, or another one for each request that has no key.
    With ``sessions: N`` there are N of them, each with a health of its own, from which the pool
    chooses as among N proxies. ``{country}`` is what the request asks for, else the option
    ``country``; ``{minutes}`` the option ``minutes``.
    """

    def __init__(self, options: ProviderOptions) -> None:
        subject = "MOCRA_PROXIES['gateway']"
        scheme, _, rest = options.source.strip().rpartition("://")
        user_info, _, place = rest.rpartition("@")
        self._user, _, password = user_info.partition(":")
        try:
            words = [name for _, name, _, _ in Formatter().parse(self._user) if name is not None]
            unknown = [word for word in words if word not in WORDS]
            defaults = {
                name: value for name, value in options.defaults.items() if name in ("username", "password", "scheme")
            }
            parsed = parse_proxy(f"{scheme or defaults.pop('scheme', 'http')}://{place}", defaults)
            more = check_options(
                {name: v for name, v in options.defaults.items() if name not in ("username", "password", "scheme")}
            )
        except (ValueError, BadProxy) as error:
            problem = str(error) if isinstance(error, BadProxy) else "its user name is no template"
            raise ConfigurationError(
                subject, problem, 'Write "http://user-session-{session}:password@host:port"'
            ) from None
        if unknown:
            raise ConfigurationError(
                subject, f"{{{unknown[0]}}} is unknown", f"There are {', '.join(f'{{{w}}}' for w in WORDS)}"
            )
        number = int(
            setting_number(f"{subject}['sessions']", options.options.get("sessions", 0), 0, 100_000, whole=True)
        )
        if number and "session" not in words:
            raise ConfigurationError(
                subject, "sessions are wanted, but the user name has no {session}", "Add it to the user name"
            )
        minutes = str(
            int(setting_number(f"{subject}['minutes']", options.options.get("minutes", 10), 1, 10_080, whole=True))
        )
        self._user = self._user.replace("{minutes}", minutes)
        from urllib.parse import unquote

        password = unquote(password) or parsed.password
        self._proxy = replace(parsed, password=password, session=self._user if words else "", **more)
        if not words:
            self._proxy = replace(self._proxy, username=unquote(self._user) or parsed.username)
        self._number = number

    async def proxies(self) -> Iterable[Proxy]:
        if not self._number:
            return [self._proxy]
        return [
            replace(self._proxy, session=self._user.replace("{session}", f"m{number}"))
            for number in range(self._number)
        ]
