"""Values that crawls share for a while."""
