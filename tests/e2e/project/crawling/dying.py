"""Pipelines of which one worker dies between a write and the acknowledgement of its pages, with SIGKILL:
the first one that has stored two batches. ``DIES`` names a file that it makes before.
"""

import os
import signal

from mocra_scrapy.pipelines.jsonlines import JsonLinesPipeline
from mocra_scrapy.pipelines.kafka import KafkaPipeline
from mocra_scrapy.pipelines.parquet import ParquetPipeline
from mocra_scrapy.pipelines.postgres import PostgresPipeline
from mocra_scrapy.pipelines.redis import RedisPipeline


class Dying:
    @classmethod
    def make_sink(cls, settings, place):
        sink = super().make_sink(settings, place)
        left, write = 2, sink.write

        async def write_and_die(batch):
            nonlocal left
            await write(batch)
            left -= 1
            if left == 0 and "DIES" in os.environ:
                try:
                    os.close(os.open(os.environ["DIES"], os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return
                os.kill(os.getpid(), signal.SIGKILL)

        sink.write = write_and_die
        return sink


class DyingJsonLines(Dying, JsonLinesPipeline):
    pass


class DyingRedis(Dying, RedisPipeline):
    pass


class DyingPostgres(Dying, PostgresPipeline):
    pass


class DyingKafka(Dying, KafkaPipeline):
    pass


class DyingParquet(Dying, ParquetPipeline):
    pass
