"""``scrapy cron`` and ``scrapy mocra worker`` as people use them: real runners, real crawls."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mocra_scrapy.cron.state import utc
from tests.e2e.cron_runners import Runners
from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.mocksite import MockSite

pytestmark = pytest.mark.e2e

SPIDERS = '''
import asyncio, time
import scrapy


class Items(scrapy.Spider):
    name = "items"
    count = "3"

    async def start(self):
        for i in range(int(self.count)):
            yield {"i": i}
        if self.settings["SHOP"] is not None:
            self.logger.error("an error with %r", self.settings["SHOP"])


class Slow(scrapy.Spider):
    name = "slow"

    async def start(self):
        yield {"i": 0}
        await asyncio.sleep(300)


class Deaf(scrapy.Spider):
    """Blocks the loop: a SIGTERM is noted and never acted on."""

    name = "deaf"

    async def start(self):
        time.sleep(300)
        yield {}


class Broken(scrapy.Spider):
    name = "broken"

    def __init__(self, **kwargs):
        raise RuntimeError("no such thing")


class Follow(scrapy.Spider):
    name = "follow"

    async def start(self):
        yield scrapy.Request(self.begin)

    def parse(self, response):
        yield {"url": response.url}
        yield from response.follow_all(css="a")
'''
YEARLY = 'schedule = "0 0 1 1 *"\n'


@pytest.fixture
def runners_of(tmp_path: Path) -> Iterator[Callable[[str, str], Runners]]:
    """Makes a project with these jobs on that backend."""
    made: list[Runners] = []

    def make(jobs: str, backend: str) -> Runners:
        project = write_project(tmp_path / "shop", SPIDERS, ONE_LINE + f'MOCRA_BACKEND = "{backend}"\n')
        (project / "cron.toml").write_text(jobs)
        made.append(Runners(project, backend))
        return made[-1]

    yield make
    for runners in made:
        runners.kill()


@pytest.mark.redis
def test_overlapping_runs_of_a_slow_spider(runners_of: Callable[[str, str], Runners], redis_url: str) -> None:
    """Each policy with a crawl that goes on when the next run is due."""
    policies = ("forbid", "allow", "replace", "queue")
    jobs = "".join(
        f'[jobs.{policy}]\nspider = "slow"\n{YEARLY}concurrency = "{policy}"\nstop_grace = 5\n' for policy in policies
    )
    runners = runners_of(jobs, redis_url)
    runners.runner()

    def states(job: str) -> list[str]:
        return [run["outcome"] or run["state"] for run in runners.history(job)]

    def trigger() -> None:
        done = scrapy(runners.project, "cron", "trigger", *policies)
        assert done.returncode == 0, done.stderr

    trigger()
    runners.until(lambda: [states(job) for job in policies] == [["running"]] * 4)
    trigger()
    expected = {
        "forbid": ["running", "skipped"],
        "allow": ["running", "running"],
        "replace": ["replaced", "running"],
        "queue": ["queued", "running"],
    }
    runners.until(lambda: {job: sorted(states(job)) for job in policies} == {j: sorted(s) for j, s in expected.items()})
    first = next(run["id"] for run in runners.history("queue") if run["state"] == "running")
    assert scrapy(runners.project, "cron", "cancel", first).returncode == 0
    runners.until(lambda: sorted(states("queue")) == ["cancelled", "running"])
    assert scrapy(runners.project, "cron", "cancel", *policies).returncode == 0
    runners.until(lambda: all(run["state"] == "ended" for job in policies for run in runners.history(job)))


@pytest.mark.redis
def test_runs_are_judged_stopped_and_recorded(runners_of: Callable[[str, str], Runners], redis_url: str) -> None:
    jobs = f"""
[jobs.good]
spider = "items"
{YEARLY}
args = {{ count = 5 }}
settings = {{ SHOP = {{ secret = "hush-hush" }} }}
success = "item_scraped_count == 5 and log_count/ERROR == 1 and finish_reason == 'finished'"

[jobs.poor]
spider = "items"
{YEARLY}
settings = {{ MOCRA_CRAWL = "poor" }}
success = "item_scraped_count > 100"
retries = 1
retry_delay = 0

[jobs.deaf]
spider = "deaf"
{YEARLY}
timeout = 40  # it has to be deaf by then, on a busy machine too
stop_grace = 1

[jobs.slow]
spider = "slow"
{YEARLY}

[jobs.broken]
spider = "broken"
{YEARLY}
"""
    runners = runners_of(jobs, redis_url)
    project = runners.project
    done = scrapy(project, "cron", "trigger", "good", "poor", "deaf", "slow", "broken")
    assert done.returncode == 0, done.stderr
    assert "No runner leads now: it will run when one does" in done.stdout
    runners.runner()

    good = runners.until_ended("good", "succeeded")
    part = good["parts"][0]
    assert (part["exit_code"], part["finish_reason"], part["items"], part["errors"]) == (0, "finished", 5, 1)
    log = Path(part["log"]).read_text()
    assert "an error with {'secret': 'hush-hush'}" in log
    assert json.loads(Path(part["log"]).with_suffix(".stats.json").read_text())["item_scraped_count"] == 5

    poor = runners.until_ended("poor", "failed")
    assert "item_scraped_count > 100 does not hold" in poor["reason"]
    runners.until(lambda: [run["attempt"] for run in runners.history("poor") if run["outcome"] == "failed"] == [1, 2])

    broken = runners.until_ended("broken", "failed")
    assert broken["parts"][0]["exit_code"] == 1
    assert "see its log" in broken["reason"]
    assert "no such thing" in Path(broken["parts"][0]["log"]).read_text()

    deaf = runners.until_ended("deaf", "timeout")
    assert deaf["parts"][0]["exit_code"] == -signal.SIGKILL
    assert "timeout = 40 s" in deaf["reason"]

    assert scrapy(project, "cron", "cancel", "slow").returncode == 0
    slow = runners.until_ended("slow", "cancelled")
    assert (slow["parts"][0]["exit_code"], slow["parts"][0]["finish_reason"], slow["parts"][0]["items"]) == (
        0,
        "shutdown",
        1,
    )

    told = [json.loads(line) for line in scrapy(project, "cron", "history", "--json").stdout.splitlines()]
    assert [run["id"] for run in told] == [run["id"] for run in runners.history()]
    assert [run["instant"] for run in told] == [utc(run["instant"]) for run in runners.history()]
    shown = scrapy(project, "cron", "history", "--failed", "--job", "poor", "--json").stdout.splitlines()
    assert [json.loads(line)["outcome"] for line in shown] == ["failed", "failed"]
    assert scrapy(project, "cron", "history", "--since", "2100-01-01").stdout.count("\n") == 1
    assert "an error with" in scrapy(project, "cron", "logs", "good").stdout
    assert '"item_scraped_count == 5' not in scrapy(project, "cron", "show", "good").stdout
    assert json.loads(scrapy(project, "cron", "show", "good", "--json").stdout)["runs"][0]["outcome"] == "succeeded"
    told = []
    # On a busy machine a lease of a second and a half is lost now and then.
    runners.until(
        lambda: told.append(scrapy(project, "cron", "status")) or told[-1].returncode == 0, what="all is well"
    )
    assert "Leads: " in told[-1].stdout
    assert "poor: failed" in told[-1].stdout
    waited = scrapy(project, "cron", "trigger", "good", "broken", "--wait")
    assert waited.returncode == 1
    assert "succeeded" in waited.stdout
    assert "failed: exit code 1" in waited.stdout
    shown = scrapy(project, "cron", "history").stdout
    assert "timeout = 40 s" in shown
    assert "succeeded" in shown
    shown = scrapy(project, "cron", "list").stdout
    assert "0 0 1 1 *" in shown
    assert "cancelled" in shown
    # Secrets of the jobs file are on no command line and in no store.
    import redis

    with redis.Redis.from_url(redis_url) as client:
        held = b"".join(
            b"".join(client.hgetall(key).values()) for key in client.scan_iter() if client.type(key) == b"hash"
        )
    assert b"good@" in held
    assert b"hush-hush" not in held


@pytest.mark.redis
def test_waiting_workers_join_one_crawl(
    runners_of: Callable[[str, str], Runners], redis_url: str, site: MockSite
) -> None:
    jobs = f"""
[jobs.follow]
spider = "follow"
{YEARLY}
args = {{ begin = "{site.url}/page/0" }}
settings = {{ CONCURRENT_REQUESTS = 2, DOWNLOAD_DELAY = 0.02, MOCRA_PREFETCH = 0 }}
executor = "queue"
workers = 2
"""
    # As many at once as only both have; none holds more than it fetches, for the first page has four links.
    site.gate(3)
    runners = runners_of(jobs, redis_url)
    # One more waiting worker than the job wants.
    workers = [runners.run("mocra", "worker") for _ in range(3)]
    runners.runner()
    assert scrapy(runners.project, "cron", "trigger", "follow").returncode == 0
    run = runners.until_ended("follow", "succeeded")
    assert len(run["parts"]) == 2
    assert {part["outcome"] for part in run["parts"]} == {"succeeded"}
    assert all(part["items"] > 0 for part in run["parts"])
    assert sum(part["items"] for part in run["parts"]) == site.pages
    assert len({part["log"] for part in run["parts"]}) == 2
    assert all(worker.poll() is None for worker in workers), "they wait for more"
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    assert [worker.wait(90) for worker in workers] == [0, 0, 0]


def test_a_single_runner_with_its_state_in_a_file(runners_of: Callable[[str, str], Runners]) -> None:
    jobs = """
[jobs.often]
spider = "items"
schedule = "*/2 * * * * *"
concurrency = "queue"
max_queued = 1000

[jobs.slow]
spider = "slow"
schedule = "0 0 1 1 *"
"""
    runners = runners_of(jobs, "memory://")
    first = runners.runner()
    runners.until_ended("often", "succeeded")
    second = runners.runner()
    assert second.wait(90) == 1
    assert "memory:// knows only one" in (runners.project / "process1.log").read_text()
    first.send_signal(signal.SIGTERM)
    assert first.wait(90) == 0
    before = {run["id"] for run in runners.history("often")}
    third = runners.runner("--stop-runs")
    runners.until(lambda: len({run["id"] for run in runners.history("often")} - before) >= 2, what="new instants")
    instants = [run["instant"] for run in runners.history("often")]
    assert instants == list(range(instants[0], instants[-1] + 1, 2)), "each instant once, those of the stop included"
    # A person's run, stopped with its runner.
    assert scrapy(runners.project, "cron", "trigger", "slow").returncode == 0
    runners.until(lambda: any(run["state"] == "running" for run in runners.history("slow")), what="slow is going on")
    third.send_signal(signal.SIGINT)
    assert third.wait(300) == 0
    assert runners.history("slow")[0]["outcome"] == "stopped"


def test_a_crawl_ends_with_its_launcher(runners_of: Callable[[str, str], Runners]) -> None:
    """SIGKILL to the launcher: SIGTERM to its crawl, and SIGKILL to one that is deaf after the grace."""
    jobs = f"""
[jobs.slow]
spider = "slow"
{YEARLY}
[jobs.deaf]
spider = "deaf"
{YEARLY}
stop_grace = 1
"""
    runners = runners_of(jobs, "memory://")
    runners.runner()
    assert scrapy(runners.project, "cron", "trigger", "slow", "deaf").returncode == 0
    runners.until(lambda: {run["state"] for run in runners.history()} == {"running"}, what="both are going on")
    logs = [Path(run["parts"][0]["log"]) for run in runners.history()]
    runners.until(lambda: all(log.exists() and "Spider opened" in log.read_text() for log in logs), what="both crawl")
    for run in runners.history():
        os.kill(run["parts"][0]["pid"], signal.SIGKILL)
    runners.until(lambda: {run["outcome"] for run in runners.history()} == {"lost"}, what="both are lost")
    slow = next(log for log in logs if log.parent.name == "slow")
    runners.until(lambda: "'finish_reason': 'shutdown'" in slow.read_text(), what="it was asked to leave")
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            mine = (cmdline.parent / "cwd").readlink() == runners.project
            assert not (mine and b"crawl_main" in cmdline.read_bytes()), "lost, but going on"


def test_looking_and_checking(runners_of: Callable[[str, str], Runners]) -> None:
    jobs = '[jobs.night]\nspider = "items"\nschedule = "30 2 * * *"\ntimezone = "Europe/Berlin"\n'
    project = runners_of(jobs, "memory://").project
    done = scrapy(project, "cron", "next", "night", "-n", "3", "--after", "2027-03-27T00:00:00Z")
    assert done.stdout.splitlines() == [
        "night: 30 2 * * * in Europe/Berlin (fixed times)",
        "  2027-03-27 02:30:00 +0100  2027-03-27T01:30:00Z",
        "  2027-03-28 03:00:00 +0200  2027-03-28T01:00:00Z  # 02:30 is left out on this day (clocks go forward): "
        "runs at the first instant after the gap",
        "  2027-03-29 02:30:00 +0200  2027-03-29T00:30:00Z",
    ]
    done = scrapy(project, "cron", "next", "night", "--after", "9999-12-31T00:00:00Z")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    done = scrapy(project, "cron", "next", "night", "-n", "1", "--after", "2027-03-27T00:00:00Z", "--json")
    assert json.loads(done.stdout) == {"job": "night", "instant": "2027-03-27T01:30:00Z", "note": ""}
    done = scrapy(project, "cron", "status")
    assert (done.returncode, "Nobody leads" in done.stdout) == (3, True)
    assert "  trigger " in scrapy(project, "cron", "help").stdout
    done = scrapy(project, "cron", "check")
    assert (done.returncode, done.stdout.endswith("1 job, nothing wrong\n")) == (0, True)
    (project / "cron.toml").write_text(jobs.replace("items", "itmes"))
    done = scrapy(project, "cron", "check")
    assert done.returncode == 1
    assert "cron.toml:2: jobs.night.spider: the project has no spider 'itmes'. Did you mean 'items'?" in done.stderr
    (project / "cron.toml").write_text(jobs.replace("30 2", "30 42"))
    for verb in (["run"], ["next"], ["trigger", "night"]):
        done = scrapy(project, "cron", *verb)
        assert done.returncode == 1, verb
        assert "cron.toml:3: jobs.night.schedule: '42' is not a valid hour" in done.stderr, verb
        assert "Traceback" not in done.stderr


def test_once_is_for_the_systems_own_cron(runners_of: Callable[[str, str], Runners]) -> None:
    runners = runners_of(
        '[jobs.often]\nspider = "items"\nschedule = "* * * * * *"\nconcurrency = "allow"\n', "memory://"
    )

    def once() -> subprocess.CompletedProcess[str]:
        done = scrapy(runners.project, "cron", "once")
        assert done.returncode == 0, done.stderr
        return done

    once()
    assert runners.history() == [], "the first call only begins to watch"
    while not (runs := runners.history()):
        once()  # as often as it takes to be in the next second
    assert all(run["state"] in ("running", "ended") for run in runs), "it leaves when they have started"
    runners.until(lambda: {run["outcome"] for run in runners.history()} == {"succeeded"}, what="all succeeded")
