"""Backends: one folder or module a server."""
