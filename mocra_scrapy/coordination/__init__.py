"""For any asyncio program: leadership, locks, shared values, the numbered calls of a queue."""
