"""Keys that keep their proxy: all requests of one key, of all workers, go through the same one."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from mocra_scrapy.models import Binding
from mocra_scrapy.models.proxies import CREDENTIALS

if TYPE_CHECKING:
    from mocra_scrapy.proxies.choices import Choices
    from mocra_scrapy.proxies.members import Member, Wish
    from mocra_scrapy.proxies.turns import Turns

#: Keys whose proxy is remembered in this process.
KEYS = 50_000


class Key(NamedTuple):
    """A sticky key.

    Attributes:
        name: a digest: what the spider called it is shown to nobody.
        waits: whether a proxy that is out for a while is waited for; else another one is taken.
        kept: identity of the proxy that it had before the store forgot; empty: nobody knows.
        of_session: whether it is a session's, which learns of its proxy.
    """

    name: str
    waits: bool = False
    kept: str = ""
    of_session: bool = False


def key_of(text: str, secret: str | None) -> Key:
    """The key that is called *text*."""
    digest = hmac.new((secret or "mocra").encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return Key(digest.hexdigest()[:20])


class Sticky:
    """Of one worker. The store has the truth; what it said is believed for a third of the time for
    which it keeps it.

    Args:
        lasts: seconds for which a binding is kept after its last use.
    """

    def __init__(self, choices: Choices, turns: Turns, lasts: float) -> None:
        self._choices, self._turns, self._believed = choices, turns, lasts / 3
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def heard(self) -> None:
        """The store has answered."""
        until = self._choices.clock() + self._believed
        for key, identity in self._turns.bound.items():
            self._known.pop(key, None)
            self._known[key] = identity, until
            if len(self._known) > KEYS:
                self._known.popitem(last=False)

    def identity_of(self, key: Key) -> str:
        """Of the proxy that *key* has; empty: it has none, or the store is to be asked."""
        identity, until = self._known.get(key.name, ("", 0.0))
        return identity if until > self._choices.clock() else ""

    def member_of(self, key: Key) -> Member | None:
        """The proxy that *key* has; ``None``: see :meth:`ask`."""
        identity = self.identity_of(key)
        return self._choices.members.get(identity) if identity else None

    def is_lost(self, key: Key, site: str, wish: Wish) -> bool:
        """Whether the proxy that *key* has is to be replaced: the provider doesn't have it any more, or
        it refuses our credentials, or it is out and *key* doesn't wait.
        """
        identity, members = self.identity_of(key) or key.kept, self._choices.members
        if not identity or not members:  # of a provider that gives none at all, nothing follows
            return False
        member = members.get(identity)
        if member is None or not member.fits(wish):
            return True
        now = self._choices.clock()
        if key.waits:
            return member.whole.why == CREDENTIALS and member.whole.is_out(now)
        return not member.is_in(site, now)

    def ask(self, key: Key, site: str, wish: Wish) -> bool:
        """Have the store decide with the next turn; whether there is a proxy to be had for it."""
        identity = self.identity_of(key) or key.kept
        instead = identity if self.is_lost(key, site, wish) else ""
        known = self._turns.bindings.get(key.name)
        if known is not None and known.instead == instead:
            return True
        kept = "" if instead else self._known.get(key.name, ("", 0.0))[0] or key.kept
        proxy = kept if kept in self._choices.members else ""
        if not proxy:
            chosen = self._choices.likely(site, wish)
            if chosen is None:
                return False
            proxy = chosen.identity
        self._turns.bindings[key.name] = Binding(key.name, proxy, instead)
        return True
