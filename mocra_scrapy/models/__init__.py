"""The frozen values that cross the contracts of :mod:`mocra_scrapy.interfaces`.

No Scrapy, no client library, no I/O. Durations are ``float`` seconds. Instants that decide between
workers are the server's clock, in seconds since the epoch.
"""

from typing import TYPE_CHECKING

from mocra_scrapy._lazy import lazily

if TYPE_CHECKING:
    from mocra_scrapy.models.bounds import NOWHERE, UNBOUNDED, Bounds
    from mocra_scrapy.models.breaker import (
        BUCKETS,
        BreakerChange,
        BreakerRules,
        BreakerState,
        Circuit,
        Outcome,
        Tally,
        Threshold,
        Trip,
        Verdict,
        tally,
    )
    from mocra_scrapy.models.budgets import NO_LIMITS, Budgeting, BudgetLimits, BudgetState, Spent, Withdrawn
    from mocra_scrapy.models.cache import CacheBounds, Cached, CacheSize
    from mocra_scrapy.models.coordination import (
        Grant,
        ServerReport,
        SharedValue,
        Term,
        WorkerReport,
        control_namespace,
        namespaces_of,
        skipped_namespace,
        slots_namespace,
        totals_namespace,
    )
    from mocra_scrapy.models.dead_letters import EVERY_LETTER, REASONS, Burial, DeadLetter, LetterFilter
    from mocra_scrapy.models.dictionaries import StoredDictionaries
    from mocra_scrapy.models.job import Argument, CrawlRecord, Job
    from mocra_scrapy.models.logged import NOTHING_FINISHED, Fed, Feed, LogAnswer, LogState, LogTurn, Offsets, Transit
    from mocra_scrapy.models.proxies import (
        Binding,
        PermitWish,
        ProxyAnswer,
        ProxyRecord,
        ProxyReport,
        ProxyRules,
        ProxyTurn,
        ProxyUse,
    )
    from mocra_scrapy.models.queue import (
        LEASED_BYTES,
        MAX_PRIORITY,
        MIN_PRIORITY,
        Audit,
        CrawlState,
        Entry,
        Exchange,
        Finish,
        Lease,
        QueueOptions,
        QueueSize,
        Seeding,
        WorkerInfo,
    )
    from mocra_scrapy.models.rule_sets import APART, UNLIMITED, RuleSet, RulesInForce, digest_of, strictest
    from mocra_scrapy.models.stalls import Attempts, StallRules, StallState
    from mocra_scrapy.models.throttle import (
        LONGEST,
        Booking,
        Departure,
        LimitChange,
        Quota,
        QuotaState,
        Reservation,
        SlotLimit,
        SlotState,
        slot_name,
    )

__all__ = [
    "APART",
    "BUCKETS",
    "EVERY_LETTER",
    "LEASED_BYTES",
    "LONGEST",
    "MAX_PRIORITY",
    "MIN_PRIORITY",
    "NOTHING_FINISHED",
    "NOWHERE",
    "NO_LIMITS",
    "REASONS",
    "UNBOUNDED",
    "UNLIMITED",
    "Argument",
    "Attempts",
    "Audit",
    "Binding",
    "Booking",
    "Bounds",
    "BreakerChange",
    "BreakerRules",
    "BreakerState",
    "BudgetLimits",
    "BudgetState",
    "Budgeting",
    "Burial",
    "CacheBounds",
    "CacheSize",
    "Cached",
    "Circuit",
    "CrawlRecord",
    "CrawlState",
    "DeadLetter",
    "Departure",
    "Entry",
    "Exchange",
    "Fed",
    "Feed",
    "Finish",
    "Grant",
    "Job",
    "Lease",
    "LetterFilter",
    "LimitChange",
    "LogAnswer",
    "LogState",
    "LogTurn",
    "Offsets",
    "Outcome",
    "PermitWish",
    "ProxyAnswer",
    "ProxyRecord",
    "ProxyReport",
    "ProxyRules",
    "ProxyTurn",
    "ProxyUse",
    "QueueOptions",
    "QueueSize",
    "Quota",
    "QuotaState",
    "Reservation",
    "RuleSet",
    "RulesInForce",
    "Seeding",
    "ServerReport",
    "SharedValue",
    "SlotLimit",
    "SlotState",
    "Spent",
    "StallRules",
    "StallState",
    "StoredDictionaries",
    "Tally",
    "Term",
    "Threshold",
    "Transit",
    "Trip",
    "Verdict",
    "Withdrawn",
    "WorkerInfo",
    "WorkerReport",
    "control_namespace",
    "digest_of",
    "namespaces_of",
    "skipped_namespace",
    "slot_name",
    "slots_namespace",
    "strictest",
    "tally",
    "totals_namespace",
]

__getattr__ = lazily(
    __name__,
    {
        "bounds": "NOWHERE UNBOUNDED Bounds",
        "breaker": (
            "BUCKETS BreakerChange BreakerRules BreakerState Circuit Outcome Tally Threshold Trip Verdict tally"
        ),
        "budgets": "NO_LIMITS Budgeting BudgetLimits BudgetState Spent Withdrawn",
        "cache": "CacheBounds Cached CacheSize",
        "coordination": (
            "Grant ServerReport SharedValue Term WorkerReport control_namespace namespaces_of "
            "skipped_namespace slots_namespace totals_namespace"
        ),
        "dead_letters": "EVERY_LETTER REASONS Burial DeadLetter LetterFilter",
        "dictionaries": "StoredDictionaries",
        "job": "Argument CrawlRecord Job",
        "logged": "NOTHING_FINISHED Fed Feed LogAnswer LogState LogTurn Offsets Transit",
        "proxies": "Binding PermitWish ProxyAnswer ProxyRecord ProxyReport ProxyRules ProxyTurn ProxyUse",
        "queue": (
            "LEASED_BYTES MAX_PRIORITY MIN_PRIORITY Audit CrawlState Entry Exchange Finish Lease QueueOptions "
            "QueueSize Seeding WorkerInfo"
        ),
        "rule_sets": "APART UNLIMITED RuleSet RulesInForce digest_of strictest",
        "stalls": "Attempts StallRules StallState",
        "throttle": (
            "LONGEST Booking Departure LimitChange Quota QuotaState Reservation SlotLimit SlotState slot_name"
        ),
    },
)
