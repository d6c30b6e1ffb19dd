"""A file a kind of source."""
