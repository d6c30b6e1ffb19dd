"""Workers that visit a site for members while they are killed: no session is mixed, no page is lost, and there is
one log-in more for each session that a kill cost.

``python -m tests.e2e.visits [--seeds 3] [--workers 2,4] [--sessions 8] [--pages 40] [--kills 6]`` prints a line
of JSON for each crawl; the exit code is 0 if all is well. The site's cookie changes with each answer, and each
value of it is good once.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.workers import Workers
from tests.mocksite.members import PASSWORD, Members
from tests.services.processes import eventually
from tests.services.proxy_farm import ProxyFarm
from tests.services.redis_server import RedisServer

#: Seconds for all of one crawl.
PATIENCE = 1800
PROXIES = 6


def visit(seed: int, number: int, given: argparse.Namespace) -> dict[str, Any]:
    """One crawl of *number* workers; what came of it."""
    rng, began = random.Random(f"{seed}/{number}"), time.monotonic()
    chains = 2 * given.sessions
    due = sorted(rng.sample(range(4, chains * given.pages * 9 // 10), given.kills))
    with tempfile.TemporaryDirectory() as name, Members() as members, ProxyFarm(PROXIES) as farm:
        folder = Path(name)
        (folder / "redis").mkdir()
        server = RedisServer(folder / "redis")
        server.start()
        workers = Workers(folder, server.url)
        pool = {"policy": "crawling.visiting.Visitors", "size": given.sessions, "concurrency": 1, "proxy": True}
        settings = {
            "MOCRA_SESSIONS": json.dumps({"127.0.0.1": pool}),
            "MOCRA_PROXIES": json.dumps([proxy.url for proxy in farm.proxies]),
            "MOCRA_RETRY_BASE": 0.01,
            "MOCRA_LEASE": 10,
            "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
        }

        def start() -> Any:
            given_to = {"site": members.url, "pages": given.pages, "chains": chains}
            return workers.start("visitors", {"VISITOR_PASSWORD": PASSWORD}, **given_to, **settings)

        try:
            alive = [start() for _ in range(number)]
            for pages in due:
                eventually(lambda: len(members.pages) >= pages, PATIENCE, f"{pages} pages")  # noqa: B023
                killed = alive.pop(rng.randrange(len(alive)))
                killed.kill()
                killed.wait()
                alive.append(start())
            codes = [worker.wait(PATIENCE) for worker in alive]
        finally:
            workers.kill()
            server.kill()
        wanted = {f"/page/{chain}/{at}" for chain in range(chains) for at in range(given.pages)}
        return {
            "seed": seed,
            "workers": number,
            "kills": len(due),
            "pages": len(wanted),
            "lost": len(wanted - set(members.pages)),
            "mixed": members.mixed,
            "log_ins": members.logins,
            "log_ins_at_most": given.sessions * (1 + len(due)),
            "changed_proxy": sum(len(through) > 1 for through in members.through.values()),
            "failed": sum(code != 0 for code in codes),
            "seconds": round(time.monotonic() - began, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.visits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", default="2,4")
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--pages", type=int, default=40, help="of each of twice as many chains")
    parser.add_argument("--kills", type=int, default=6)
    given = parser.parse_args()
    good = True
    for seed in range(given.seeds):
        for number in map(int, given.workers.split(",")):
            told = visit(seed, number, given)
            print(json.dumps(told), flush=True)
            good = good and not any(told[name] for name in ("lost", "mixed", "changed_proxy", "failed"))
            good = good and told["log_ins"] <= told["log_ins_at_most"]
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
