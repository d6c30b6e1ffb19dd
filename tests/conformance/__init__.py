"""One suite judges all backends: a test for each rule of :mod:`mocra_scrapy.interfaces`, and what
follows from several of them.
"""
