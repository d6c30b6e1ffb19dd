"""MOCRA_* settings, read once, checked, frozen."""
