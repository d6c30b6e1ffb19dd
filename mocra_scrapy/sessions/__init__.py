"""Sessions: what a site sees as one visitor, the same for all workers of a crawl.

===================  =============================================================================
``cookie_merge.py``  what is known of a session, and how two workers' knowledge becomes one. Pure
``jar.py``           its cookies on this worker, by origin and path
``sealing.py``       encrypted, where there is a key
``record.py``        one session as this worker knows it
``store.py``         kept the same as on the other workers
``pool_state.py``    what is stored of a pool, and the steps that change it. Pure
``stored_pool.py``   how a worker changes it
``pool.py``          which session a request gets
``policy.py``        what projects subclass: how a session is made, what an answer says of it
``login.py``         making one
``component.py``     all of it in one crawler
===================  =============================================================================
"""
