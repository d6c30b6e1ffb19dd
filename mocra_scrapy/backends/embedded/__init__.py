"""The rules of the queue in Python, for backends that live in the process."""
