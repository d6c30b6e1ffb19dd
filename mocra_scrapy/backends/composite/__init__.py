"""Kafka's queue: a log that keeps all requests of a crawl, and the queue of another backend (its *window*)
that has those that are worked on.

===================  =============================================================================
``backend.py``       :class:`KafkaBackend`
``queue.py``         :class:`KafkaRequestQueue`, the verbs that need the log
``window.py``        the verbs that only the window is asked for
``storing.py``       what is pushed goes into the log before the call is answered
``feeder.py``        what was read of the log goes into the window, what is finished is committed
``partitions.py``    how far a partition is: fed, finished, committed
``beginnings.py``    where a run begins in the log
``gaps.py``          what is told where the log does not have what is to be read
``backlog.py``       how much is in the log that is not in the window
===================  =============================================================================
"""

from mocra_scrapy.backends.composite.backend import KafkaBackend

__all__ = ["KafkaBackend"]
