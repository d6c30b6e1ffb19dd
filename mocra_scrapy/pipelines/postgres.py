"""``PostgresPipeline``: rows of a table.

With a key (``MOCRA_POSTGRES_KEY``) a row is written over by the next item of the same key: however often
a page is fetched again, there is one row. Without one each item is a new row, by ``COPY``.

The server makes of JSON what its columns are, so whatever it can read as a number, date or array will
do. A batch is one transaction: whole, or not at all.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError, ItemRefused, SinkUnavailable
from mocra_scrapy.models.redaction import redact, redact_url
from mocra_scrapy.pipelines.batch import BatchPipeline, Place
from mocra_scrapy.pipelines.postgres_rows import Shapes, copy_line, merged
from mocra_scrapy.pipelines.postgres_table import Table, look_at, quoted
from mocra_scrapy.pipelines.sink import StoredItem
from mocra_scrapy.settings.pipelines import PostgresOptions, read_postgres

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Error
    from scrapy.settings import BaseSettings

logger = logging.getLogger(__name__)

#: Classes of SQLSTATE that say "not now": connection, resources, rollback, state, operator, system.
PASSING = {"08", "53", "40", "55", "57", "58"}
#: Those that say "not this": data, integrity, cardinality, limits; and two of class 42 about types.
REFUSED, REFUSED_CODES = {"21", "22", "23", "54"}, {"42804", "42846"}
#: It is a standby, for now.
READ_ONLY = "25006"
#: Serialization failure, deadlock.
BEGIN_ANEW = {"40001", "40P01"}
CONNECT_TIMEOUT = 10
#: libpq gives no SQLSTATE to what fails while it connects.
NOT_WELCOME = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf entry",
    "permission denied",
    "is not permitted to log in",
    "no password supplied",
)


class PostgresPipeline(BatchPipeline):
    """Idempotent with a key; see ``docs/guides/store-items``."""

    kind = "postgres"

    @classmethod
    def make_sink(cls, settings: BaseSettings, place: Place) -> PostgresSink:
        return PostgresSink(read_postgres(settings), place.field)


class PostgresSink:
    """See :class:`~mocra_scrapy.pipelines.sink.Sink`. *field*: the column for an item's origin,
    where the table has one.
    """

    def __init__(self, options: PostgresOptions, field: str) -> None:
        self._options, self._field = options, field
        self.name = f"table {options.table} of {redact_url(options.url)}"
        self._connection: AsyncConnection[Any] | None = None
        self._table: Table | None = None

    async def open(self) -> None:
        try:
            import psycopg  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                "ITEM_PIPELINES", "PostgresPipeline needs psycopg", 'pip install "mocra-scrapy[postgres]"'
            ) from error
        await self._connected()

    async def write(self, batch: Sequence[StoredItem]) -> None:
        try:
            for last in (False, False, True):
                try:
                    await self._transaction(batch)
                except SinkUnavailable as error:
                    # Two workers that write over the same rows: one of them has to begin anew.
                    if last or getattr(error.__cause__, "sqlstate", None) not in BEGIN_ANEW:
                        raise
                else:
                    return
        except ItemRefused as error:
            if len(batch) == 1 and error.which is None:
                raise ItemRefused(await self._explained(batch[0], error.reason)) from error
            raise
        except BaseException:
            await self._drop()  # in whatever state it is: the next one begins anew, and looks at the table again
            raise

    async def close(self) -> None:
        await self._drop()

    # ------------------------------------------------------------------ inside

    async def _transaction(self, batch: Sequence[StoredItem]) -> None:
        connection, table = await self._connected()
        shapes = self._shapes(table, batch)
        with self._translated():
            async with connection.transaction():
                for names, rows in shapes.items():
                    await self._write(connection, table, names, rows)

    async def _connected(self) -> tuple[AsyncConnection[Any], Table]:
        import psycopg

        if self._connection is None or self._connection.closed or self._table is None:
            await self._drop()
            with self._translated():
                self._connection = await psycopg.AsyncConnection.connect(
                    self._options.url,
                    autocommit=True,
                    prepare_threshold=None,  # poolers between us and the server don't keep prepared statements
                    connect_timeout=CONNECT_TIMEOUT,
                    client_encoding="UTF8",
                    application_name="mocra_scrapy",
                )
                try:
                    self._table = await look_at(self._connection, self._options, self._field)
                except BaseException:
                    await self._drop()
                    raise
        return self._connection, self._table

    async def _drop(self) -> None:
        connection, self._connection, self._table = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close()

    def _shapes(self, table: Table, batch: Sequence[StoredItem]) -> Shapes:
        """Rows by the columns that they set, so that others keep their default, or what they have.

        Raises:
            ItemRefused: names each item that does not fit the table.
        """
        refused: dict[int, str] = {}
        rows: list[dict[str, Any]] = []
        for at, item in enumerate(batch):
            try:
                rows.append(table.row_of(item))
            except ItemRefused as error:
                refused[at] = error.reason
        if refused:
            raise ItemRefused(next(iter(refused.values())), refused)
        shapes: Shapes = {}
        for row in merged(rows, table.key) if table.key else rows:
            shapes.setdefault(tuple(sorted(row)), []).append(row)
        return shapes

    async def _write(
        self, connection: AsyncConnection[Any], table: Table, names: tuple[str, ...], rows: list[dict[str, Any]]
    ) -> None:
        if not names:
            for _ in rows:
                await connection.execute(f"INSERT INTO {table.quoted} DEFAULT VALUES".encode())
        elif table.key:
            text = json.dumps(rows, ensure_ascii=False)
            await connection.execute(table.upsert(names), (text,))
        else:
            kinds = [table.columns[name] for name in names]
            columns = ", ".join(map(quoted, names))
            lines = "".join(copy_line([row[name] for name in names], kinds) for row in rows)
            async with (
                connection.cursor() as cursor,
                cursor.copy(f"COPY {table.quoted} ({columns}) FROM STDIN".encode()) as copy,
            ):
                await copy.write(lines)

    async def _explained(self, item: StoredItem, reason: str) -> str:
        """Which column of a refused item it is, as the server does not always say."""
        with contextlib.suppress(Exception):
            connection, table = await self._connected()
            for name, value in table.row_of(item).items():
                try:
                    await connection.execute(table.reads(name), (json.dumps([{name: value}]),))
                except Exception as error:
                    shown = repr(value)[:100]
                    return f"column {name!r} ({table.columns[name].type}) does not take {shown}: {_first(error)}"
        return reason

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise self._meaning(error) from error
        except UnicodeError as error:
            raise ItemRefused(f"a text that is no UTF-8: {error}") from error

    def _meaning(self, error: Error) -> Exception:
        state, text = error.sqlstate or "", _first(error)
        if state[:2] in REFUSED or state in REFUSED_CODES:
            return ItemRefused(text)
        if state[:2] == "42" or state[:2] in {"28", "3D", "3F"} or _says_who(text):
            return ConfigurationError(
                "MOCRA_POSTGRES_TABLE" if state[:2] == "42" else "MOCRA_POSTGRES_URL",
                f"{self.name}: {text}",
                "Grant the user INSERT, and with a key UPDATE and SELECT"
                if state == "42501"
                else "Check user, password, database and table",
            )
        if not state or state[:2] in PASSING or state == READ_ONLY:
            return SinkUnavailable(f"{self.name}: {text}")
        return ItemRefused(f"{text} ({state})")


def _first(error: BaseException) -> str:
    """What the server said, in one line without passwords."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    lines = [line for line in str(primary or error).splitlines() if line.strip() and not line.startswith("\t")]
    return redact((lines or [type(error).__name__])[0 if primary else -1].removeprefix("connection failed: "))


def _says_who(text: str) -> bool:
    return any(words in text for words in NOT_WELCOME) and ("FATAL" in text or "no password" in text)
