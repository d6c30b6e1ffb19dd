"""The proxy pool: which proxy a request goes through.

====================  ============================================================================
``proxy.py``          one proxy and its identity
``providers/``        where proxies come from
``scoring.py``        how good a proxy is, which of two is taken; pure
``members.py``        the proxies of this worker, and what is known of each
``choices.py``        the choice, without any waiting
``reports.py``        what is told of outcomes
``turns.py``          one call in a while tells and asks everything at once
``sticky.py``         keys that keep their proxy
``verdicts.py``       what an answer or a failure says of the proxy
``component.py``      the parts together, for one crawler
====================  ============================================================================
"""
