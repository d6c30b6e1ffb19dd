"""Pipelines whose worker dies between a write and the acknowledgement of its pages: with SIGKILL, when
``DIES_AFTER`` batches are stored.
"""

import os
import signal

from mocra_scrapy.pipelines.jsonlines import JsonLinesPipeline
from mocra_scrapy.pipelines.redis import RedisPipeline


class Dying:
    @classmethod
    def make_sink(cls, settings, place):
        sink = super().make_sink(settings, place)
        left, write = int(os.environ.get("DIES_AFTER", "0")), sink.write

        async def write_and_die(batch):
            nonlocal left
            await write(batch)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sink.write = write_and_die
        return sink


class DyingJsonLines(Dying, JsonLinesPipeline):
    pass


class DyingRedis(Dying, RedisPipeline):
    pass
