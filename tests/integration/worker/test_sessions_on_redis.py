"""The tests of sessions whose outcome depends on the store, once more on a real server: there a change
is told by messages that come late, and calls cross each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.sessions import test_one_at_a_time, test_pools, test_shared_cookies
from tests.unit.sessions.conftest import Stage

pytestmark = pytest.mark.redis

for test in (
    test_one_at_a_time.test_one_at_a_time_over_all_workers,
    test_one_at_a_time.test_nobody_has_a_session_whose_cookie_is_not_stored_yet,
    test_one_at_a_time.test_a_session_that_a_killed_worker_had_is_free_at_once,
    test_pools.test_fifty_log_ins_needed_fifty_made,
    test_pools.test_one_refreshes_for_all,
    test_pools.test_what_a_closing_worker_took_comes_back,
    test_shared_cookies.test_a_request_waits_for_what_its_parent_knew,
    test_shared_cookies.test_two_answers_at_once_lose_nothing,
    test_shared_cookies.test_a_cookie_that_changes_with_each_answer_is_never_lost_or_mixed,
    test_shared_cookies.test_deleted_and_expired_cookies_are_gone_everywhere,
    test_shared_cookies.test_what_a_session_has_is_known_to_all_workers,
):
    globals()[test.__name__] = test
del test


@pytest.fixture
async def stage(redis_url: str) -> AsyncIterator[Stage]:
    one = Stage(redis_url)
    yield one
    await one.close()
