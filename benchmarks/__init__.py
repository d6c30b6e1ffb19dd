"""The figures of the README and the docs. ``python -m benchmarks --help``."""
