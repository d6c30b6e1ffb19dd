"""Wrong lines on purpose, to see whether a fast test notices: ``python -m tests.mutation``."""
