"""What becomes of Scrapy's feeds when several workers write them and any of them may be killed.

===========  ==============================================  =====================================
kind         which                                           how
===========  ==============================================  =====================================
lines        JSON Lines into a file                          one file for all workers, one write
                                                             for each item, before its page is
                                                             acknowledged
rows         CSV into a file                                 the same with a file for each worker
part         other formats, post-processing, remote          as in Scrapy, with a file for each
             storages                                        worker; a kill loses the open one
stdout       standard output                                 as in Scrapy, flushed for each item
other        a storage of the project's own                  as it is
===========  ==============================================  =====================================

The extension (:mod:`mocra_scrapy.extensions.feedexport`) is Scrapy's own but for that; on
``memory://`` it is Scrapy's own.
"""
