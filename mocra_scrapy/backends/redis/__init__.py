"""Redis, Valkey and compatible servers."""
