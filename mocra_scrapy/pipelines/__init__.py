"""Item pipelines that store in batches, and are done with an item when it is stored.

==================  ============================================================================
``batch.py``        ``BatchPipeline``: what Scrapy calls; the base of all that follow
``batcher.py``      the batches: bounds, retries, halving, the end. Knows neither Scrapy nor files
``sink.py``         what a sink is: the contract between a batch and where it goes
``items.py``        an item of any class -> what is stored of it
``patience.py``     how long a batch waits for its sink
``spill.py``        the file for what could not be written when a worker had to close
``replay.py``       storing what is in it
``deduplicate.py``  one item of a key, over all workers
``jsonlines.py``    files of lines
``kafka.py``        a topic
``parquet*.py``     Parquet files: their columns, their spools
``postgres*.py``    a table: its rows, what it is like
``redis.py``        a stream, a list or a hash
==================  ============================================================================
"""
