"""The rules of the queue, of its limits and its breaker, in plain Python without I/O: for the memory
backend and for one over rows of a file. A backend brings a clock, atomic steps, and a way to wake
workers.

===========================  ====================================================================
``crawl.py``                 all that is stored of one crawl, and the steps that change it
``slots.py``                 pending entries: lists by slot and rank, and whose turn it is
``workers.py``               what a worker holds, and its last call
``fingerprints.py``          the filter
``dead_letters.py``          what was given up
``dictionaries.py``          what compressed payloads need to be read
``rules.py``                 what the settings of the workers say of limits
``throttle.py``              limits and departures; ``permit_tables.py``: permits; ``quotas.py``: what
                             quotas count; ``throttled_leasing.py``: who gets what within all that
``permits.py``               fewer permits than before
``budgets.py``               what counts for budgets, and what they refuse
``circuits.py``              what the breaker knows; ``judging.py``: its rules
``wakeups.py``               who is to be woken
``runs.py``                  how a run begins, is seeded and ends
``exchange.py``              a worker's whole turn; ``reclaiming.py``: what dead workers held
``logged_exchange.py``       the same where a log keeps the requests; ``feeding.py``: what comes from it;
                             ``log.py``: what is known of it
``cache.py``                 one namespace of the cache
===========================  ====================================================================
"""
