"""What sites see of a crawl, in virtual time.

Whole Scrapy crawlers with the add-on (engine, downloader, middlewares, all parts of a worker) share the memory
store in one process, on a loop whose clock jumps. Only the download handler is made up: it writes down what arrives. A
schedule, drawn from a seed, has workers that join, leave, are killed and stand still, rules that differ and change, holds,
pauses; pages that are redirected, cached, ignored, slow, that fetch files, and whose callbacks block.

===================  ===============================================================================
``schedule.py``      what happens: drawn from a seed, as JSON
``world.py``         processes, their clock, the way to the store
``site.py``          the sites, and the project that crawls them
``simulate.py``      one schedule from begin to end
``judge.py``         never more than burst + rate x time, nor while held; at least 95 % of the rate, where there
                     is work
``crawl_delay.py``   the same of sites with a Crawl-delay, from the first page on (``--robots``)
``mistakes.py``      what it must see
===================  ===============================================================================

``python -m tests.simulation.politeness --seeds 1000``; ``--seed 17 -v`` tells what happens; ``--mistake`` plants mistakes.
Needs a Scrapy that runs without a reactor (2.15 and later).

Not all seeds pass. Of 0 to 399 these don't, for two reasons that are to be mended in the stores: resuming
a slot forgets what was booked, so it may have its whole burst anew (134, 164, 227, 244, 313, 361, 378, 392); a
longer interval makes a burst, counted in intervals, reach further back, so up to ``burst - 1`` more depart at once (100,
115, 220). Why 112 and 394 use too little was not found out.
"""
