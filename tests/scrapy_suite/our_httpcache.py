"""Scrapy's own tests of its HTTP cache, against our middleware: our storage below its policies, our policy on
its storages, and both.

Its tests call the middleware and a storage directly, and want an answer: here each call runs on a loop
in a thread, until what it began is done.
"""

import asyncio
import os
import threading

import pytest

from mocra_scrapy.cache.httpcache.pages import page_name
from mocra_scrapy.downloadermiddlewares import httpcache as ours
from mocra_scrapy.downloadermiddlewares.httpcache_entries import response_of, stored_of
from tests import test_downloadermiddleware_httpcache as theirs

POLICY, STORAGE = (f"{ours.__name__}.{name}" for name in ("RFC9111Policy", "BackendCacheStorage"))
#: Test -> why it differs, with our storage; with our policy.
OTHER_STORAGE = {
    "test_storage": "when it was stored is told by the middleware, not by the storage",
    "test_storage_response_class": "a class that the store names is not imported",
    "test_corrupted_cache_entry_is_a_miss": "the test damages files (tests/integration/httpcache has ours)",
    "test_corrupted_cache_entry_ignore_missing": "the test damages files (tests/integration/httpcache has ours)",
    "test_storage_old_cache_entry": "there are no entries of older versions",
}
DIFFERENT = {
    "test_cache_timestamp": "the test asks the policy what only Scrapy's middleware asks",
    "test_dont_cache": "the test asks the policy what only Scrapy's middleware asks",
    "test_ignore_response_cache_controls": "300 without anything is not fresh for a year",
    "test_response_cacheability": "401 is not cacheable without explicit freshness (RFC 9111 §3), 300 without anything is not useful",
    "test_cached_and_fresh": "a redirect that says nothing is not fresh for a year (RFC 9111 §4.2.2 knows no such rule)",
    "test_cached_and_stale": "what is stale and can't be validated is not worth storing",
}

LOOP = asyncio.new_event_loop()
THREAD = threading.Thread(target=LOOP.run_forever, daemon=True, name="loop of the cache")
THREAD.start()


def done(call, *args):
    async def run():
        result = call(*args)
        return await result if asyncio.iscoroutine(result) else result

    return asyncio.run_coroutine_threadsafe(run(), LOOP).result(60)


class Storage:
    """Ours, as the tests use one."""

    def __init__(self, middleware):
        self.middleware = middleware

    def _name(self, request):
        middleware = self.middleware
        return page_name(request.url) if middleware._rfc9111 is not None else middleware._name(request)

    def retrieve_response(self, spider, request):
        found = done(self.middleware._backend.pages.read, self._name(request))
        return response_of(found[0].answer, (), found[0].extra) if found else None

    def store_response(self, spider, request, response):
        done(self.middleware._backend.pages.write, self._name(request), [stored_of(request, response)])


class Driven(ours.HttpCacheMiddleware):
    """Each call is made on the loop. There ``storage`` is what the middleware works with, elsewhere what the
    tests look at.
    """

    @property
    def storage(self):
        inside = threading.current_thread() is THREAD or not isinstance(self._theirs, ours.BackendCacheStorage)
        return self._theirs if inside else Storage(self)

    @storage.setter
    def storage(self, storage):
        self._theirs = storage

    @classmethod
    def from_crawler(cls, crawler):
        return done(super().from_crawler, crawler)

    def spider_opened(self, spider):
        return done(super().spider_opened, spider)

    def spider_closed(self, spider):
        return done(super().spider_closed, spider)

    def process_request(self, request, spider=None):
        return done(super().process_request, request)

    def process_response(self, request, response, spider=None):
        return done(super().process_response, request, response)

    def process_exception(self, request, exception, spider=None):
        return done(super().process_exception, request, exception)


class Ours:
    @pytest.fixture(autouse=True)
    def _ours(self, monkeypatch, request):
        monkeypatch.setattr(theirs, "HttpCacheMiddleware", Driven)
        differences = (OTHER_STORAGE if self.storage_class == STORAGE else {}) | (
            DIFFERENT if self.policy_class == POLICY else {}
        )
        name = request.function.__name__
        if name == "test_storage" and os.environ.get("SCRAPY_SUITE") == "oldest":
            differences.pop(name, None)  # it asks for less there
        # Theirs are of one second, in which a busy machine does not even begin.
        self.lasting = name != "test_storage"
        if why := differences.get(name):
            request.node.add_marker(pytest.mark.xfail(reason=why, strict=True))

    def _get_settings(self, **settings):
        if self.lasting:
            settings.setdefault("HTTPCACHE_EXPIRATION_SECS", 3600)
        return super()._get_settings(**settings)

    def assertEqualResponse(self, response1, response2):
        """As theirs, but for ``Age``, which RFC 9111 wants."""
        one, other = response1.copy(), response2.copy()
        one.headers.pop("Age", None)
        other.headers.pop("Age", None)
        super().assertEqualResponse(one, other)


class TestOurStorageWithDummyPolicy(Ours, theirs.StorageTestMixin, theirs.DummyPolicyTestMixin, theirs.TestBase):
    policy_class, storage_class = "scrapy.extensions.httpcache.DummyPolicy", STORAGE


class TestOurStorageWithRFC2616Policy(Ours, theirs.StorageTestMixin, theirs.RFC2616PolicyTestMixin, theirs.TestBase):
    policy_class, storage_class = "scrapy.extensions.httpcache.RFC2616Policy", STORAGE


class TestOurPolicyAndStorage(Ours, theirs.RFC2616PolicyTestMixin, theirs.TestBase):
    policy_class, storage_class = POLICY, STORAGE


class TestOurPolicyOnTheirFiles(Ours, theirs.TestFilesystemStorageWithRFC2616Policy):
    policy_class = POLICY
