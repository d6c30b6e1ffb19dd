"""One connected client of any kind of Redis."""
