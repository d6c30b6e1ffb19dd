"""A simulator of the whole queue.

Simulated workers crawl a made-up graph of links through a real queue (the memory backend, or the
scripts on a real Redis), in virtual time. A schedule, drawn from a seed, says what goes wrong:
calls and answers that are lost, late or doubled, workers that are killed between any two steps,
clocks that jump. A ledger beside them knows what must be true after every step and in the end. A
schedule that breaks a rule is shrunk, and may be kept as a test.

==================  ==============================================================================
``schedule.py``     what happens: drawn from a seed, as JSON
``graph.py``        the pages, their links and manners
``clock.py``        an event loop whose clock jumps to the next timer
``worlds.py``       the backends: memory, Redis
``link.py``         one worker's connection: where calls go wrong
``worker.py``       the protocol that a worker follows, as the real one does
``ledger.py``       what must be true
``simulate.py``     one schedule from begin to end
``shrink.py``       the smallest schedule that still fails
``kept/*.json``     schedules that failed once
==================  ==============================================================================

``python -m tests.simulation --backend memory --seeds 10000``; ``--seed 17 -v`` tells what happens.
"""
