"""What a crawl tells other programs while it runs: typed records, to a log, a Redis stream or a
webhook.

===================  =============================================================================
``records.py``       every kind of event, with its fields
``envelope.py``      what stands around it, and how it becomes JSON
``collector.py``     hears the signals of a crawler, and makes records of them
``of_cron.py``       the same for a runner of ``scrapy cron``
``bus.py``           takes records, samples them, and has a bounded queue for each sink
``outlet.py``        one sink's queue: batches, repetitions, what is dropped
``signature.py``     signs what a webhook gets, and checks it
``post.py``          the HTTP client of webhooks: where it may connect to, and what an answer means
``sink.py``          what a sink is; ``sinks/`` has a file for each kind
===================  =============================================================================

Nothing here is imported unless ``MOCRA_EVENTS`` is set. Nothing here waits for a sink in the course
of a crawl, and nothing raises into it.
"""
