"""Every ``MOCRA_*`` setting: default, unit, meaning. One line each.

How to add one: write the line here, its check in :mod:`mocra_scrapy.settings.crawl`, its entry in
``docs/reference/settings.rst`` (a test compares these), and a sentence in ``CHANGES.md``. Durations
are seconds unless the name says otherwise. ``None`` means "worked out from something else", which
the comment names.
"""

from __future__ import annotations

MOCRA_ENABLED = True  # False: Scrapy's own scheduler, as if the add-on were not there
MOCRA_FAST = (
    False  # True: Scrapy settings that make a page cheaper where the project has none of its own, see docs/guides/speed
)
MOCRA_BACKEND = "memory://"  # memory:// | redis:// rediss:// unix:// redis+sentinel:// redis+cluster:// …
MOCRA_QUEUE_BACKEND: str | None = None  # where requests are, as kafka://host:9092; None: MOCRA_BACKEND
MOCRA_STATE_BACKEND: str | None = None  # where leaders, locks and shared values are; None: MOCRA_BACKEND
MOCRA_EVENTS_BACKEND: str | None = None  # where events go that MOCRA_EVENTS gives no place; None: MOCRA_BACKEND
MOCRA_REDIS_OPTIONS: dict[
    str, object
] = {}  # more arguments for the Redis client: ssl_ca_certs, username, socket_timeout…
MOCRA_KEY_PREFIX = "mocra"  # what every key and channel on the server begins with
MOCRA_PROJECT: str | None = None  # whose spider it is; None: the top package of the settings module, else the spider's
MOCRA_CRAWL: str | None = None  # the shared job's whole name; None: "project:spider"
MOCRA_FRESH = False  # True: delete what is stored of the crawl and begin it again, unless others work on it
MOCRA_SECRET_PARAMS = ["*password*", "*passwd*", "*token*", "*secret*", "*key*"]  # -a whose values are shown to nobody
MOCRA_SHARDS: int | None = None  # parts a crawl is spread over; None: 1, or what the crawl was begun with
MOCRA_LEASE = 60.0  # s without a sign of life after which a worker's requests go to others
MOCRA_MAX_DELIVERIES = 5  # hand-outs to workers that died after which a request is a dead letter
MOCRA_QUEUE_ORDER: str | None = None  # "fifo" | "lifo"; None: as SCHEDULER_MEMORY_QUEUE says (Scrapy's default: lifo)
MOCRA_PREFETCH: int | None = None  # requests leased ahead of the downloader; None: CONCURRENT_REQUESTS; 0: strict order
MOCRA_OUTBOX_MAX = 5000  # requests not stored yet above which start() and callbacks are made to wait
MOCRA_SEEDS_AHEAD = (
    10_000  # requests pending above which start() is made to wait, unless nothing of them can be fetched
)
MOCRA_SEEDS: object = None  # what feeds the crawl beside start(): "redis:KEY", "file:PATH", …; a list of these
MOCRA_SEEDS_REDIS: str | None = None  # URL of the server of keys of seeds; None: MOCRA_BACKEND's
MOCRA_SEEDS_KAFKA: str | None = None  # URL of the brokers of topics of seeds: kafka://host:9092,host:9092
MOCRA_SEEDS_POLL = 0.5  # s between two looks at a source that had nothing
MOCRA_SEEDS_IDLE = 5.0  # s without a seed and without work after which a source counts as exhausted (not with "never")
MOCRA_EXCHANGE_INTERVAL = 0.005  # s between two exchanges with the backend, at least
MOCRA_FLUSH_INTERVAL = 0.05  # s that acks and new requests wait for company before they are sent, at most
MOCRA_IDLE_POLL = 2.0  # s between two looks of an idle worker that nobody wakes (jittered)
MOCRA_CLOSE = "finished"  # "finished": leave when the crawl is done everywhere | "idle": when this worker is | "never"
MOCRA_KEEP_SEEN = False  # True: a new run remembers what the finished one has seen
MOCRA_SEEN_TTL: float | None = None  # s for which a URL counts as seen, at least; None: as long as the run
MOCRA_LOCAL_SEEN = 100_000  # fingerprints remembered in this process, so that known duplicates cost no message
MOCRA_CODEC = "msgpack"  # "msgpack" | "pickle" (runs code from the store: only where you trust everybody) | a class
MOCRA_COMPRESSION = "auto"  # "auto": compress stored requests where a server is shared | "on" | "off"; all are read
MOCRA_ENTRY_MAX_BYTES = 1_048_576  # bytes of one stored request; larger ones stay with this worker
MOCRA_ITEM_CLASSES: list[str] = []  # modules or classes whose instances meta may hold, beside the project's own
MOCRA_REQUIRE_SERIALIZABLE = False  # True: a request that can't be stored is an error; False: it stays with this worker
MOCRA_MAX_DEAD = 100_000  # dead letters kept a crawl; the oldest go first
MOCRA_DEAD_TTL = 2_592_000.0  # s for which a dead letter is kept (30 days); 0: without limit
MOCRA_DEAD_BODIES = 3  # responses kept beside dead letters, of each kind of failure (on a shared server); 0: none
MOCRA_DEAD_BODY_MAX_BYTES = 1_048_576  # bytes of the body of each; of longer ones the beginning
MOCRA_DEAD_BODIES_MAX_BYTES = 33_554_432  # bytes of all of them a crawl, as they are stored (compressed)
MOCRA_DEAD_RETRIES = True  # whether a request whose retries are used up becomes a dead letter
MOCRA_ON_ERROR = "ack"  # what an exception in a callback means: "ack" (done, with a record) | "retry" | "dead"
MOCRA_TRANSACTIONAL = False  # True: what a callback yields is stored with its acknowledgement, or not at all
MOCRA_TRANSACTIONAL_MAX = 1000  # requests and items of a page that are held for that; one with more is a dead letter
MOCRA_CALLBACK_TIMEOUT: float | None = (
    None  # s after which a callback that has not returned makes a dead letter; None: never
)
MOCRA_CALLBACK_NOTICE = 300.0  # s in flight after which the oldest request is named in the log, again at doubling times
MOCRA_STOP_GRACE = 20.0  # s that a closing worker waits for what is in flight; 0: as long as it takes
MOCRA_LOOP_WATCHDOG = 30.0  # s for which the event loop may be blocked before the log says by what; 0: no watchdog
MOCRA_RETRY_BASE = 1.0  # s that the first retry waits at most; doubled for each further one; 0: as Scrapy, at once
MOCRA_RETRY_CAP = 300.0  # s that any retry waits at most, unless the server says otherwise
MOCRA_THROTTLE_RATE_LIMIT_HEADERS = "hold"  # "spread": what is left over its time; "off": not looked at
MOCRA_RETRY_AFTER_CAP = 3600.0  # s that Retry-After of a response is believed, at most
MOCRA_DEFER_MAX = 3600.0  # s (and 20 times) for which a request is put off without a retry where its site asks to wait
MOCRA_STALL_MAX = 900.0  # s in which attempts at a slot were allowed and none succeeded: then it is given up; 0: never
MOCRA_STALL_ATTEMPTS = 10  # failed attempts, one after the other, that this takes as well
MOCRA_STALL_OPENINGS = 6  # openings of its circuit in a row with which a slot is given up (MOCRA_BREAKER); 0: never
MOCRA_DELAY_MAX = 2_592_000.0  # s that mocra_delay and mocra_not_before may ask for, at most (30 days)
MOCRA_START_TIMEOUT = 15.0  # s to wait for the backend at start before giving up
MOCRA_STOP_TIMEOUT = 10.0  # s to hand back and flush at the end before leaving it to the lease
MOCRA_THROTTLE_SCOPE = (
    "cluster"  # "cluster": delays and concurrency of a slot hold for all workers together | "worker": for each
)
MOCRA_THROTTLE: dict[str, object] = {}  # slot, pattern or "@scope" -> "60/m", or a dict of rate, burst, concurrency, …
MOCRA_BUDGETS: dict[
    str, object
] = {}  # "slot" | "domain" | "seed" -> (name or pattern ->) pages, queued, depth, bytes, errors, time
MOCRA_THROTTLE_ON_OUTAGE = "wait"  # what requests that bypass the queue do while the backend is away: "wait" | "share"
MOCRA_BYPASS_MAX_WAIT = 180.0  # s that a request which bypasses the queue (media, robots.txt) waits for its departure
MOCRA_THROTTLE_FEEDBACK_STATUSES = [429, 503]  # answers that halve the rate of their slot (429 at once); empty: none
MOCRA_THROTTLE_FEEDBACK_FLOOR = 0.1  # s between two requests of a slot that had no limit and is slowed down
MOCRA_THROTTLE_FEEDBACK_MOST = 60.0  # s between two requests of a slot that is slowed down, at most
MOCRA_THROTTLE_FEEDBACK_RECOVERY = 0.05  # part by which the interval of a slowed slot shrinks a minute
MOCRA_THROTTLE_FEEDBACK_CALM = 5.0  # s after a slot was slowed down in which it is not slowed down again
MOCRA_THROTTLE_CRAWL_DELAY = True  # whether Crawl-delay of robots.txt is kept between two requests of a slot
MOCRA_THROTTLE_CRAWL_DELAY_MAX = 60.0  # s of Crawl-delay, at most
MOCRA_ROBOTS_MAX_AGE = 86_400.0  # s for which all workers use a robots.txt that one of them fetched (ROBOTSTXT_OBEY)
MOCRA_SESSIONS: object = False  # True: all workers share cookies | a dict: pools of sessions by site, too
MOCRA_SESSION_TTL = 604_800.0  # s that a session is kept after its last change (7 days)
MOCRA_SECRET_KEY: str | None = None  # 32 bytes in base64 with which what sessions hold is encrypted; None: it isn't
MOCRA_HTTPCACHE_SCOPE = "spider"  # whose the shared HTTP cache is: "crawl" (private) | "spider" | "all" (both shared)
MOCRA_HTTPCACHE_MAX_BYTES = 1_073_741_824  # bytes of all its entries, as they are stored (1 GiB)
MOCRA_HTTPCACHE_ENTRY_MAX_BYTES = 16_777_216  # bytes of one entry, as it is stored; a larger page is not stored
MOCRA_HTTPCACHE_KEEP = 2_592_000.0  # s for which an entry is kept, fresh or not, at most (30 days)
MOCRA_HTTPCACHE_HEURISTIC = (
    0.1  # part of its age since Last-Modified for which a page is fresh that doesn't say; 0: not
)
MOCRA_HTTPCACHE_HEURISTIC_MAX = 86_400.0  # s that this comes to, at most
MOCRA_HTTPCACHE_NEGATIVE: dict[object, object] = {}  # status of an error that doesn't say -> s for which it is fresh
MOCRA_HTTPCACHE_STALE_IF_ERROR = 86_400.0  # s for which a stale page stands for a site that fails, if it doesn't say
MOCRA_HTTPCACHE_WAIT = 30.0  # s that a request waits for another one's answer to the same, at most; 0: not at all
MOCRA_PROXIES: object = None  # where proxies come from: a list of them, "file:PATH", "text:URL", …; None: no pool
MOCRA_PROXY_POOL: str | None = None  # crawls of one pool share what is known of its proxies; None: the project's name
MOCRA_PROXY_ON_EMPTY = "wait"  # without a proxy: "wait" in the queue | "close" the crawl | "direct": without one
MOCRA_PROXY_CONCURRENCY = 0  # requests of all workers through one proxy at a time; 0: any number
MOCRA_PROXY_FAILURES = 3  # failures in a row with which a proxy is out, at a site or as a whole
MOCRA_PROXY_COOL_DOWN = 30.0  # s for which it is out before it is probed; doubled each time
MOCRA_PROXY_BAN_COOL_DOWN = 300.0  # the same where its site refused it
MOCRA_PROXY_COOL_DOWN_MAX = 3600.0  # s for which it is out, at most; at once where it refuses our credentials
MOCRA_PROXY_BAN_STATUSES = [403, 429]  # answers with which a site refuses a proxy
MOCRA_PROXY_BAN_BODIES: list[str] = []  # regular expressions; a page in which one is found is no page, but a refusal
MOCRA_PROXY_POLICY: object = None  # class that judges answers and failures; None: by status, body and exception
MOCRA_PROXY_TRIES = 5  # further proxies that a page gets before its failure counts as a usual one
MOCRA_PROXY_REFRESH = 300.0  # s between two readings of what proxies come from, by all workers; 0: only at the start
MOCRA_PROXY_STICKY = 1800.0  # s for which a sticky key keeps its proxy after its last use
MOCRA_BREAKER: object = None  # when a failing slot is held and a failing crawl stopped: "mocra" | "share" | a dict
MOCRA_TRAPS: object = False  # links that look like a trap are not followed; True: usual rules; a dict: other ones
MOCRA_HEARTBEAT = 10.0  # s between two reports of a worker about itself
MOCRA_HEARTBEAT_TTL = 30.0  # s without one after which it is off the list
MOCRA_SUMMARY = (
    True  # whether a summary is logged at the end, of this worker and, by the one that ends it, of the crawl
)
MOCRA_PROGRESS: object = None  # a line that shows how it goes; None: on a terminal; True: also elsewhere; False: never
MOCRA_BATCH_ITEMS = 500  # items of a batch that a pipeline writes, at most
MOCRA_BATCH_BYTES = 1_048_576  # bytes of a batch, at most; a larger item goes alone
MOCRA_BATCH_WAIT = 0.2  # s that an item waits for company, at most
MOCRA_BATCH_TIMEOUT = 30.0  # s for one write, after which it is repeated
MOCRA_BATCH_RETRY_BASE = 0.5  # s that the first repetition waits at most; doubled for each further one
MOCRA_BATCH_RETRY_CAP = 15.0  # s that any repetition waits at most
MOCRA_BATCH_CLOSE = 8.0  # s that a closing worker gives a sink that is away, before it spills
MOCRA_ITEM_FIELD = "_mocra"  # the field of a stored item that says of which page it is; "": none
MOCRA_SPILL_DIR = ".mocra-spill"  # folder for items that could not be written at close; "": none
MOCRA_SPILL_MAX_BYTES = 1_073_741_824  # bytes of all files in it, at most (1 GiB)
MOCRA_UNIQUE_ITEMS: list[str] = []  # fields by which DeduplicatePipeline knows an item
MOCRA_UNIQUE_OVER = "run"  # "run" | "crawl": also over its earlier runs
MOCRA_UNIQUE_TTL = 2_592_000.0  # s for which a key is known after it was last met beside others (30 days)
MOCRA_JSONLINES_DIR = "items"  # folder of JsonLinesPipeline
MOCRA_JSONLINES_ROTATE_BYTES = 104_857_600  # bytes after which a file is finished (100 MiB); 0: at close
MOCRA_JSONLINES_ROTATE_SECONDS = 3600.0  # s after which a file is finished; 0: at close
MOCRA_JSONLINES_COMPRESSION = "none"  # "none" | "zstd"
MOCRA_POSTGRES_URL: str | None = None  # postgresql://user:password@host/database of PostgresPipeline
MOCRA_POSTGRES_TABLE: str | None = None  # its table: "items", "schema.items"
MOCRA_POSTGRES_KEY: list[str] = []  # columns by which a row is known: written over; none: each item is a new row
MOCRA_POSTGRES_COLUMNS: dict[str, str] = {}  # column -> type: the table is created if missing, else compared
MOCRA_POSTGRES_REST: str | None = None  # json or jsonb column for the fields that have no column
MOCRA_REDIS_ITEMS_URL: str | None = None  # server of RedisPipeline; None: MOCRA_BACKEND
MOCRA_REDIS_ITEMS_KEY = "%(crawl)s:items"  # its key
MOCRA_REDIS_ITEMS_KIND = "stream"  # "stream" | "list" | "hash"
MOCRA_REDIS_ITEMS_MAXLEN = 0  # entries of the stream or list, about; the oldest go first; 0: without limit
MOCRA_REDIS_ITEMS_ID: list[str] = []  # fields by which an item is known in a hash
MOCRA_KAFKA_OPTIONS: dict[str, object] = {}  # options of librdkafka, for every client of Kafka
MOCRA_KAFKA_PARTITIONS = 12  # of each topic of a crawl's log: so many workers at most read at a time
MOCRA_KAFKA_REPLICATION = 3  # copies of each partition
MOCRA_KAFKA_MIN_INSYNC: int | None = None  # copies written before a request counts as stored; None: one less than that
MOCRA_KAFKA_RETENTION: float | None = None  # s for which messages are kept at least, read or not; None: without limit
MOCRA_KAFKA_CREATE_TOPICS = False  # True: the first worker creates topics that are missing
MOCRA_KAFKA_GROUP_PROTOCOL = "classic"  # "classic" (cooperative-sticky) | "consumer" (KIP-848, brokers from 4.0 on)
MOCRA_KAFKA_SESSION_TIMEOUT = 30.0  # s without a sign of life after which a worker's partitions go to others
MOCRA_KAFKA_REVOKE_TIMEOUT = 5.0  # s for which a partition that goes to another worker is held back to be settled
MOCRA_KAFKA_WINDOW = 10_000  # requests that are worked on at a time, in the state's backend, about
MOCRA_KAFKA_AHEAD = 1000  # requests of each partition that are read ahead
MOCRA_KAFKA_AHEAD_BYTES = 16_777_216  # bytes of all of them in a worker, about
MOCRA_KAFKA_ITEMS_URL: str | None = None  # kafka://host:port,host:port of KafkaPipeline
MOCRA_KAFKA_ITEMS_TOPIC: str | None = None  # its topic, which must be there
MOCRA_KAFKA_ITEMS_KEY: list[str] = []  # fields that make a message's key; none: no key
MOCRA_KAFKA_ITEMS_HEADERS: list[str] = []  # fields that are headers of a message as well
MOCRA_PARQUET_DIR = "items"  # folder of ParquetPipeline
MOCRA_PARQUET_SCHEMA: dict[str, str] = {}  # field -> type, as {"price": "decimal(10, 2)"}; empty: as the items have it
MOCRA_PARQUET_COMPRESSION = "zstd"  # "zstd" | "snappy" | "gzip" | "lz4" | "none"
MOCRA_PARQUET_ROW_GROUP = 100_000  # rows of each row group
MOCRA_PARQUET_ROTATE_BYTES = (
    268_435_456  # bytes of items, before compression, after which a file is finished; 0: at close
)
MOCRA_PARQUET_ROTATE_SECONDS = 3600.0  # s after which a file is finished; 0: at close
MOCRA_CACHE_TTL = 86_400.0  # s that a value of mocra.cache(…) lasts for which nothing else is said
MOCRA_CACHE_MAX_ENTRIES = 100_000  # entries of a namespace of it; what ends first makes room
MOCRA_CACHE_MAX_BYTES = 268_435_456  # bytes of a namespace: names and values as they are stored (compressed)
MOCRA_CACHE_MAX_VALUE_BYTES = 16_777_216  # bytes of one value, before compression
MOCRA_CACHE_ON_OUTAGE = "raise"  # what a read is while the backend is away: "raise" | "miss"
MOCRA_CACHES: dict[str, dict[str, object]] = {}  # namespace -> what is different there: {"prices": {"ttl": 60}}
MOCRA_LEADER_ROLES: list[str] = []  # roles for which every worker stands, beside those that code asks for
MOCRA_LEADER_LEASE = 15.0  # s for which a role is taken
MOCRA_LEADER_RENEW = 5.0  # s between two renewals
MOCRA_LEADER_DEADLINE = 10.0  # s after the last renewal at which a leader stops believing in itself; below the lease
MOCRA_LEADER_RETRY = 2.0  # s between two attempts to win a role, ± a quarter
MOCRA_EVENTS: object = (
    None  # where events go: a dict of "log", "redis", "kafka", "webhook" -> options, or a list of these names
)
MOCRA_EVENTS_SAMPLE: object = 0.01  # part of pages of which events about requests and items are told; or event -> part
MOCRA_EVENTS_QUEUE_MAX = 10_000  # events that wait for a sink, at most; more are dropped, and counted
MOCRA_EVENTS_STOP_TIMEOUT = 5.0  # s to send the last events at the end before they are dropped
MOCRA_CRON: object = None  # the jobs of `scrapy cron`: a path, or a dict; None: cron.toml, or [tool.mocra.cron]
MOCRA_CRON_NAME: str | None = None  # runners and workers of one name share their jobs; None: the project's name
MOCRA_CRON_DIR = ".mocra-cron"  # folder for logs of runs, and for the state on memory://
MOCRA_CRON_LEASE = 30.0  # s without a sign of life after which a run counts as lost
