"""Signals of the suite, beside Scrapy's. Connect with
``crawler.signals.connect(handler, signal=...)``.

Handlers may be coroutine functions. Each signal's arguments stand in its comment and in
``docs/reference/signals``.
"""

from __future__ import annotations

#: The crawl is finished everywhere. Sent on one worker of the cluster, once a run, before its
#: spider closes. Arguments: ``spider``, ``crawl`` (str), ``run`` (int).
crawl_finished = object()

#: The backend stopped answering; the crawl pauses. Arguments: ``spider``, ``error`` (MocraError).
backend_unavailable = object()

#: The backend answers again. Arguments: ``spider``, ``seconds`` (float) it was away.
backend_available = object()

#: This worker was declared dead and what it held went to others (a pause longer than MOCRA_LEASE).
#: Arguments: ``spider``.
worker_lost = object()

#: What this worker was told changed: it runs, is paused, drains or stops.
#: Arguments: ``spider``, ``state`` ("running", "paused", "draining", "stopping").
worker_state_changed = object()

#: Another worker of the crawl died. Sent on each worker that notices. Arguments: ``spider``,
#: ``worker`` (str), ``held`` (int: requests that come back; ``None``: not known).
worker_died = object()

#: This worker gave a request up, or an item of it: a dead letter is on its way to the queue.
#: Arguments: ``spider``, ``request``, ``reason``, ``kind`` (str), ``record`` (bool: the page counts as
#: done nevertheless), ``detail`` (str, without passwords of URLs).
request_buried = object()

#: A site asked to wait, and all workers do. Sent on the worker that it told. Arguments: ``spider``,
#: ``slot`` (str), ``seconds`` (float), ``why`` (str).
slot_held = object()

#: A slot is slowed down because of what its site answers. Sent on the worker that it told.
#: Arguments: ``spider``, ``slot`` (str), ``interval`` (float, s between two requests).
slot_slowed = object()

#: A slot did not recover; its requests become dead letters. Sent on the worker whose report gave it
#: up. Arguments: ``spider``, ``slot`` (str), ``why`` (str).
slot_given_up = object()

#: A slot failed too often and is held by all workers. Sent on the worker whose report opened it.
#: Arguments: ``spider``, ``slot`` (str), ``hold`` (float, s), ``times`` (int, openings in a row),
#: ``failed``, ``total`` (int, downloads in the window; of a failed probe: this report's), ``kinds``
#: (dict: kind of failure -> number).
breaker_opened = object()

#: Probes of an open slot went well: it is as before. Sent on the worker whose report closed it.
#: Arguments: ``spider``, ``slot`` (str).
breaker_closed = object()

#: The crawl failed too often; this worker closes (reason ``mocra_error_threshold``). Sent on every
#: worker. Arguments: ``spider``, ``failed``, ``total`` (int), ``kinds`` (dict).
breaker_tripped = object()

#: What a pipeline of ours writes to stopped answering; pages wait for it. Arguments: ``spider``,
#: ``sink`` (str, what and where, without passwords), ``error`` (Exception).
sink_unavailable = object()

#: It answers again. Arguments: ``spider``, ``sink``, ``seconds`` (float) it was away.
sink_available = object()

#: It was away while this worker closed, and items were kept in a file, for ``scrapy mocra spill
#: replay``. Arguments: ``spider``, ``sink``, ``path`` (str), ``items`` (int).
items_spilled = object()

#: A proxy of the pool is out: it failed too often in a row, or refused our credentials. Sent on the
#: worker whose report it was. Arguments: ``spider``, ``proxy`` (str, its identity), ``site`` (str, a
#: slot; empty: for all), ``why`` (str: ``proxy``, ``credentials``, ``doubt`` or ``ban``).
proxy_out = object()

#: It is back: its probe succeeded, or its site was at fault. Arguments: ``spider``, ``proxy``, ``site``.
proxy_back = object()

#: A site fails through so many proxies that work elsewhere that no proxy is blamed for it.
#: Arguments: ``spider``, ``site``.
proxy_site_down = object()

#: This worker leads a role. Arguments: ``spider``, ``role`` (str), ``term``
#: (:class:`~mocra_scrapy.models.Term`).
leader_elected = object()

#: It leads it no more: resigned, lost by a pause or an outage, or deposed by hand.
#: Arguments: ``spider``, ``role`` (str), ``term`` (the one that ended).
leader_lost = object()

#: A run of ``scrapy cron`` has ended, whatever its outcome. These four are sent by
#: ``Runner.signals`` in the runner that leads, not by a crawler. Arguments: ``job`` (str), ``run``
#: (dict, as ``scrapy cron history --json`` has it).
cron_run_ended = object()

#: It has gone wrong and is not retried. Arguments: ``job``, ``run``.
cron_run_failed = object()

#: An instant was missed. Arguments: ``job``, ``run``.
cron_run_missed = object()

#: It succeeded, and the run before it had not. Arguments: ``job``, ``run``.
cron_run_recovered = object()
