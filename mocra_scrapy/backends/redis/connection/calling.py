"""How a script is called: as a function of the server, where it has functions, else by its digest. Nothing is lost
between the two: both run the same text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from mocra_scrapy.backends.redis.connection.errors import is_replica
from mocra_scrapy.backends.redis.connection.scripts import Function, Script
from mocra_scrapy.backends.redis.connection.url import RedisTarget

logger = logging.getLogger(__name__)

UNKNOWN = "function not found"
#: Beginnings of what a server says that has no functions, or can't load ours (Redis 6.2, proxies, servers that only speak
#: like Redis). What a script itself meets begins otherwise.
NO_FUNCTIONS = ("unknown command", "unsupported command", "unknown subcommand", "error registering", "error compiling")


class Calls:
    """The calls of one client.

    Attributes:
        has_functions: whether the server lets us call functions, as far as is known.
    """

    def __init__(self, target: RedisTarget) -> None:
        self._target = target
        self.has_functions = True

    async def run(self, client: Any, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script once. *client*: of redis-py.

        Raises:
            redis.exceptions.RedisError: whatever redis-py raises.
        """
        if self._target.kind == "cluster":
            script = script.in_cluster
        function = script.function if self.has_functions else None
        if function is not None:
            try:
                return await self._call(client, function, keys, args)
            except ResponseError as error:
                why = why_no_functions(error)
                if why is None:
                    raise
                self.has_functions = False
                logger.info(
                    "%s: %s. Each exchange sends a script instead (EVALSHA), which costs the server more",
                    self._target.redacted,
                    why,
                )
        try:
            return await client.evalsha(script.sha, len(keys), *keys, *args)
        except NoScriptError:  # a restart, a fail-over: it did not run
            return await client.eval(script.text, len(keys), *keys, *args)

    async def _call(self, client: Any, function: Function, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Call a function; where the server does not know it (yet, or any more), it did not run: then it is loaded."""
        command = ("FCALL", function.name, len(keys), *keys, *args)
        try:
            return await self._execute(client, keys[0], *command)
        except ResponseError as error:
            if UNKNOWN not in str(error).lower():
                raise
        await self._load(client, function)
        return await self._execute(client, keys[0], *command)

    async def _execute(self, client: Any, key: str, *command: Any) -> Any:
        if self._target.kind != "cluster":
            return await client.execute_command(*command)
        # redis-py would ask the server where the keys of this command are, twice for each call.
        await client.initialize()
        return await client.execute_command(*command, target_nodes=client.get_node_from_key(key))

    async def _load(self, client: Any, function: Function) -> None:
        """Load it, on each primary of a cluster: which one did not know it may be another one than was asked. Other
        libraries stay, also older ones of ours: somebody may still call them.
        """

        async def load(**where: Any) -> None:
            try:
                await client.execute_command("FUNCTION LOAD", function.text, **where)
            except ResponseError as error:
                if "already exists" not in str(error):  # another worker was faster
                    raise

        if self._target.kind != "cluster":
            await load()
            return
        nodes = client.get_primaries()
        told = await asyncio.gather(*(load(target_nodes=node) for node in nodes), return_exceptions=True)
        failed = [error for error in told if isinstance(error, BaseException)]
        if len(failed) == len(nodes):
            raise failed[0]


def why_no_functions(error: ResponseError) -> str | None:
    """What an answer says of a server where functions can't be called, in our words; None: it says something else."""
    text = str(error).lower()
    if isinstance(error, NoPermissionError):
        lacking = next((name for name in ("fcall", "function") if f"'{name}" in text), None)
        return f"its user may not call {lacking.upper()}" if lacking else None
    if is_replica(error):
        return None
    if text.startswith(NO_FUNCTIONS):
        return "it has no functions (Redis 7 and Valkey have)"
    return "it forgets functions at once" if UNKNOWN in text else None
