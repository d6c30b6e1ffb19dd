"""A job is itself: project, spider and arguments; how it is begun again, and what people are told."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, rewrite, scrapy, write_project
from tests.e2e.workers import PROJECT, Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

SPIDER = """
    import scrapy


    class Books(scrapy.Spider):
        name = "books"
        start_path = "ok/start"

        async def start(self):
            for path in self.start_path.split(","):
                yield scrapy.Request(f"{self.site}/{path}", dont_filter=True)

        def parse(self, response):
            yield {"url": response.url}
"""
SLOW = {"DOWNLOAD_DELAY": 0.2, "CONCURRENT_REQUESTS": 1, "CONCURRENT_REQUESTS_PER_DOMAIN": 1, "MOCRA_LEASE": 5}


def mocra(workers: Workers, *arguments: str, code: int = 0, stdin: str = "") -> str:
    done = scrapy(PROJECT, "mocra", *arguments, "-s", f"MOCRA_BACKEND={workers.backend}", stdin=stdin)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def facts(workers: Workers, crawl: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(mocra(workers, "status", crawl, "--json"))
    return found


def interrupted(workers: Workers, site: MockSite, **arguments: object) -> None:
    """A crawl of graph that was stopped by Ctrl-C with requests pending."""
    first = workers.start("graph", site=site.url, **SLOW, **arguments)
    eventually(lambda: len(site.arrivals()) > 3)
    first.send_signal(signal.SIGINT)
    assert first.wait(300) == 0


def test_p13_a_job_is_itself(site: MockSite, workers: Workers, redis_single: RedisServer) -> None:
    interrupted(workers, site, region="https://u:hunter2@a.test/", api_token="t0psecret")
    before = facts(workers, "graph")
    assert before["pending"]
    assert before["arguments"] == {"api_token": "***", "site": site.url, "region": "https://***@a.test/"}
    with redis_single.client() as client:
        records = [client.hgetall(key) for key in client.scan_iter() if client.type(key) == b"hash"]
    assert "a.test" in str(records)
    assert "t0psecret" not in str(records)
    assert "hunter2" not in str(records)
    arrived = len(site.arrivals())
    # Other arguments: refused before anything is fetched, with what differs and the ways out.
    other = workers.start("graph", site=site.url, region="https://b.test/", api_token="another", MOCRA_LEASE=7)
    assert other.wait(300) == 1
    log = workers.log(1)
    assert "api_token is another one; region is 'https://b.test/', was 'https://***@a.test/'" in log
    assert f"{before['pending']} requests are pending" in log
    for way in ("-a region=https://***@a.test/", "MOCRA_CRAWL=crawling:graph-2", "MOCRA_FRESH=1"):
        assert way in log
    assert "another" not in log.replace("api_token is another one", "").replace("of another job", "")
    assert "Traceback" not in log
    assert len(site.arrivals()) == arrived
    after = facts(workers, "graph")
    assert {**after, "heard": 0} == {**before, "heard": 0}, "nothing was changed"
    # The same arguments, whatever the settings: it is resumed, and says what is left.
    last = workers.start("graph", site=site.url, region="https://u:hunter2@a.test/", api_token="t0psecret")
    assert last.wait(300) == 0
    assert "resumes run 1 of crawl 'crawling:graph'" in workers.log(2)
    assert f"{before['pending']} requests are pending" in workers.log(2)
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())
    # Finished: the next run may have any arguments.
    assert workers.start("graph", site=site.url, region="https://c.test/").wait(300) == 0
    assert "begins run 2 of crawl 'crawling:graph'" in workers.log(3)


def test_two_at_once_with_other_arguments(site: MockSite, workers: Workers) -> None:
    with site.stopped():
        for n in range(2):
            workers.start("graph", site=site.url, n=n)
        eventually(lambda: sorted(worker.poll() is None for worker in workers.all) == [False, True])
    codes = workers.wait()
    assert sorted(codes) == [0, 1]
    assert "n is " in workers.log(codes.index(1))
    assert len(workers.events("finished")) == 1


def test_a_worker_that_slept_leaves_the_run_of_another_job(site: MockSite, workers: Workers) -> None:
    """Stopped; meanwhile its run was finished and one of other arguments began. It must not seed that."""
    sleeper = workers.start("graph", site=site.url, n=1, MOCRA_LEASE=1, DOWNLOAD_DELAY=0.02)
    eventually(lambda: len(site.arrivals()) > 30)
    sleeper.send_signal(signal.SIGSTOP)
    assert workers.start("graph", site=site.url, n=1, MOCRA_LEASE=1).wait(300) == 0
    workers.start("graph", site=site.url, n=2, MOCRA_LEASE=1, DOWNLOAD_DELAY=0.05)
    workers.until("opened", 3)
    sleeper.send_signal(signal.SIGCONT)
    assert sleeper.wait(300) == 0
    workers.wait()
    assert "of another job: n is '1', was '2'" in workers.log(0)
    reasons = {event["pid"]: event["reason"] for event in workers.events("closed")}
    assert reasons[sleeper.pid] == "mocra_error"
    assert len(workers.events("finished")) == 2


def test_projects_with_spiders_of_one_name_do_not_meet(site: MockSite, redis_url: str, tmp_path: Path) -> None:
    for name in ("shop", "store"):
        project = write_project(tmp_path / name, SPIDER, ONE_LINE + f"MOCRA_BACKEND = {redis_url!r}\n")
        (project / "shop").rename(project / name)
        for file in (project / "scrapy.cfg", project / name / "settings.py"):
            rewrite(file, ("shop.", f"{name}."))
        done = scrapy(project, "crawl", "books", "-a", f"site={site.url}", "-a", f"start_path=ok/{name},slow/1/{name}")
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"begins run 1 of crawl '{name}:books'" in done.stderr
        told = scrapy(project, "mocra", "status", "books").stdout
        assert f"crawl      {name}:books" in told
        assert f"-a start_path=ok/{name},slow/1/{name}" in told
    alone = tmp_path / "nightly.py"
    alone.write_text((tmp_path / "shop" / "shop" / "spiders" / "first.py").read_text())
    more = ["-s", f"MOCRA_BACKEND={redis_url}", "-s", 'ADDONS={"mocra_scrapy.Addon": 300}']
    done = scrapy(tmp_path, "runspider", "nightly.py", "-a", f"site={site.url}", *more)
    assert "begins run 1 of crawl 'nightly:books'" in done.stderr
    listed = scrapy(tmp_path, "mocra", "status", "--json", *more[:2]).stdout.splitlines()
    assert [json.loads(line)["crawl"] for line in listed] == ["nightly:books", "shop:books", "store:books"]


def test_the_loop_of_a_developer(site: MockSite, workers: Workers) -> None:
    """Some items, Ctrl-C, other arguments: each attempt begins from scratch."""
    limited = {**SLOW, "CLOSESPIDER_ITEMCOUNT": 2, "DOWNLOAD_DELAY": 0, "MOCRA_FRESH": 1}
    for n in range(3):
        site.reset()
        assert workers.start("graph", site=site.url, n=n, **limited).wait(300) == 0
        assert "begins run 1 of crawl 'crawling:graph'" in workers.log(n)
        assert "/page/0" in site.arrivals(), "it was seeded again"
    assert "MOCRA_FRESH: crawl 'crawling:graph' is deleted and begun again. It was in run 1" in workers.log(2)
    # Not while somebody else works on it.
    working = workers.start("graph", site=site.url, n=2, **SLOW)
    workers.until("opened", 4)
    hasty = workers.start("graph", site=site.url, n=3, MOCRA_FRESH=1)
    assert hasty.wait(300) == 1
    assert f"has workers that live: {facts(workers, 'graph')['workers'][0]['worker']}" in workers.log(4)  # type: ignore[index]
    # Who comes to it joins, and doesn't resume.
    helping = workers.start("graph", site=site.url, n=2, MOCRA_FRESH=0)
    workers.until("opened", 5)
    assert "joins run 1 of crawl 'crawling:graph': 1 other worker is there" in workers.log(5)
    helping.kill()
    working.kill()
    working.wait(300)
    # Killed on this machine: that is seen by their signs, nobody waits for the lease.
    assert workers.start("graph", site=site.url, n=4, MOCRA_FRESH=1).wait(300) == 0
    assert "begins run 1 of crawl 'crawling:graph'" in workers.log(6)
    assert len(workers.events("finished")) == 1


def test_status_and_reset(site: MockSite, workers: Workers, redis_single: RedisServer) -> None:
    assert "knows no crawl 'crawling:graph'. There are: none" in mocra(workers, "status", "graph", code=1)
    assert "knows no crawl" in mocra(workers, "status")
    assert "knows no crawl 'crawling:graph'" in mocra(workers, "reset", "graph", "--yes", code=1)
    running = workers.start("graph", site=site.url, **SLOW)
    eventually(lambda: len(site.arrivals()) > 3)
    told = facts(workers, "crawling:graph")
    assert (told["state"], told["run"], told["spider"], told["project"]) == ("running", 1, "graph", "crawling")
    assert str(running.pid) in mocra(workers, "status", "graph")
    refused = mocra(workers, "reset", "graph", "--yes", code=1)
    assert "1 worker of it live" in refused
    assert str(running.pid) in refused
    mocra(workers, "control", "pause", "--crawl", "graph")
    eventually(lambda: facts(workers, "graph")["state"] == "paused")
    running.send_signal(signal.SIGTERM)
    assert running.wait(300) == 0
    (line,) = mocra(workers, "status").splitlines()[1:]
    assert line.split()[:3] == ["crawling:graph", "interrupted", "1"]
    assert "Nothing was deleted" in mocra(workers, "reset", "graph", code=1, stdin="n\n")
    assert "nobody answered" in mocra(workers, "reset", "graph", code=1)
    assert facts(workers, "graph")["pending"]
    assert "is deleted" in mocra(workers, "reset", "graph", stdin="y\n")
    with redis_single.client() as client:
        left = {key for key in client.scan_iter() if not key.startswith(b"mocra:{+workers}")}
    assert left == set(), "the pause is gone, too"
    # Of one that was killed here its death is seen.
    killed = workers.start("graph", site=site.url, **{**SLOW, "MOCRA_LEASE": 600})
    workers.until("opened", 2)
    killed.kill()
    killed.wait(300)
    seen = mocra(workers, "reset", "graph", "--yes")
    assert "died: its process is gone" in seen
    assert "is deleted" in seen
    # Of which somebody deleted a part.
    with redis_single.client() as client:
        client.rpush("mocra:{crawling:graph:0}:q:1:127.0.0.1", b"\0left")
        client.zadd("mocra:{crawling:graph:0}:ready", {"127.0.0.1": 1})
        assert "is deleted" in mocra(workers, "reset", "graph", "--yes")
        assert client.keys("*{crawling*") == []
    # By force while a worker lives: it begins anew, and the crawl ends as ever.
    site.reset()
    workers.start("graph", site=site.url, DOWNLOAD_DELAY=0.02)
    eventually(lambda: len(site.arrivals()) > 20)
    assert "is deleted" in mocra(workers, "reset", "graph", "--yes", "--force")
    assert workers.all[2].wait(300) == 0
    assert "joins again and seeds again" in workers.log(2)
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())
    assert len(workers.events("finished")) == 1


def test_what_only_this_workers_offsite_filter_drops(site: MockSite, redis_url: str, tmp_path: Path) -> None:
    """By an environment variable, as two machines may have it: a dead letter, not done in silence."""
    spider = (
        SPIDER.replace("import scrapy\n", "import os\n    import scrapy\n")
        .replace(
            'name = "books"', 'name = "books"\n        allowed_domains = os.environ.get("DOMAINS", "127.0.0.1").split()'
        )
        .replace('{self.site}/{path}", dont_filter=True', '{self.site}/{path}"')
    )
    project = write_project(tmp_path / "p", spider, ONE_LINE + f"MOCRA_BACKEND = {redis_url!r}\n")
    crawl = ["crawl", "books", "-a", f"site={site.url}", "-a", "start_path=" + ",".join(f"ok/{n}" for n in range(8))]
    workers = Workers(tmp_path, redis_url, project)
    try:
        first = workers.start("books", {"DOMAINS": "127.0.0.1"}, site=site.url, start_path=crawl[-1][11:], **SLOW)
        eventually(lambda: len(site.arrivals()) > 1)
        first.send_signal(signal.SIGINT)
        assert first.wait(300) == 0
        second = workers.start("books", {"DOMAINS": "elsewhere.test"}, site=site.url, start_path=crawl[-1][11:])
        assert second.wait(300) == 0
        log = workers.log(1)
        dead = 8 - len(site.arrivals())
        assert dead > 0
        assert f"'mocra/dead/offsite': {dead}" in log
        assert log.count("allowed_domains, then scrapy mocra dead replay SPIDER --reason offsite") == 1
        replay = scrapy(project, "mocra", "dead", "replay", "books", "--reason", "offsite")
        assert f"{dead} dead letter" in replay.stdout
        third = workers.start("books", {"DOMAINS": "127.0.0.1"}, site=site.url, start_path=crawl[-1][11:])
        assert third.wait(300) == 0
        assert len(site.arrivals()) == 8
    finally:
        workers.kill()


def test_memory_says_what_is_gone(site: MockSite, workers_on: object) -> None:
    workers = workers_on("memory://")  # type: ignore[operator]
    stopped = workers.start("graph", site=site.url, **SLOW)
    eventually(lambda: len(site.arrivals()) > 3)
    stopped.send_signal(signal.SIGINT)
    assert stopped.wait(300) == 0
    assert "requests of crawl 'crawling:graph'. memory:// keeps nothing" in workers.log(0)
    assert workers.start("list", site=site.url, paths="ok/a").wait(300) == 0
    assert "gone with this process" not in workers.log(1)


def test_a_renamed_callback_is_told_with_what_helps(site: MockSite, redis_url: str, tmp_path: Path) -> None:
    project = write_project(tmp_path / "p", SPIDER, ONE_LINE + f"MOCRA_BACKEND = {redis_url!r}\n")
    file = project / "shop" / "spiders" / "first.py"
    rewrite(file, ("dont_filter=True", "self.old"), ("def parse", "def old"))
    arguments = ["-a", f"site={site.url}", "-a", "start_path=" + ",".join(f"ok/{n}" for n in range(5))]
    one = ["-s", "CLOSESPIDER_PAGECOUNT=1", "-s", "CONCURRENT_REQUESTS=1", "-s", "DOWNLOAD_DELAY=0.2"]
    assert scrapy(project, "crawl", "books", *arguments, *one).returncode == 0
    fetched = len(site.arrivals())
    rewrite(file, ("old", "new"))
    done = scrapy(project, "crawl", "books", *arguments)
    assert "callback 'old' is no longer a method of spider 'books'" in done.stderr
    assert "(old = new_name)" in done.stderr
    rewrite(file, more="\n    old = new\n")
    command = "mocra dead replay books --reason unreadable"
    assert command in done.stderr
    assert "back in the queue" in scrapy(project, *command.split()).stdout
    assert scrapy(project, "crawl", "books", *arguments).returncode == 0
    assert fetched < len(site.arrivals()) == 5
