"""Requests <-> bytes."""
