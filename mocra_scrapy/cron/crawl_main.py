"""``python -m mocra_scrapy.cron.crawl_main SPIDER``: ``scrapy crawl SPIDER`` with a report of its
stats. What to crawl comes on the standard input.

Arguments and settings may hold passwords, so they don't stand on the command line; and settings
keep their types.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mocra_scrapy.cron.lifeline import hold

#: Above ``-s``, since these are what ``-s`` of ``scrapy cron run`` and the jobs file say.
PRIORITY = "cmdline"


def main() -> None:
    told: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    for file in (told["lifeline"], *told["signs"]):
        os.set_inheritable(file, False)  # a browser that outlives this process must not hold them
    hold(told["lifeline"], told["stop_grace"])
    # Only now: what happens before an order was read takes no second.
    from scrapy.cmdline import execute
    from scrapy.utils.project import get_project_settings

    from mocra_scrapy.cron.stats_report import RunReport

    settings = get_project_settings()
    # A project that logs into a file of its own would have all runs in one. A job may say
    # otherwise.
    settings.set("LOG_FILE", None, PRIORITY)
    settings.setdict(told["settings"], PRIORITY)
    RunReport.path = told["report"]
    # Beside the project's EXTENSIONS, which a spider or -s may replace as a whole.
    settings["EXTENSIONS_BASE"]["mocra_scrapy.cron.stats_report.RunReport"] = 0
    args = [part for name, value in told["args"].items() for part in ("-a", f"{name}={value}")]
    execute(["scrapy", "crawl", told["spider"], *args], settings)


if __name__ == "__main__":
    main()
