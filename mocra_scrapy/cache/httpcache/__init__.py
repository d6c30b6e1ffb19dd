"""The HTTP cache, RFC 9111: its decisions without I/O, its entries, and one request for a page at a time."""
