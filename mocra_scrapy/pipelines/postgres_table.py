"""The table of ``PostgresPipeline``: looked at when the crawl starts, or created."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError, ItemRefused
from mocra_scrapy.pipelines.postgres_rows import Column
from mocra_scrapy.pipelines.sink import StoredItem
from mocra_scrapy.settings.pipelines import PostgresOptions

if TYPE_CHECKING:
    from psycopg import AsyncConnection

COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), t.typname IN ('json', 'jsonb'), t.typcategory = 'A',
       a.attgenerated <> '' OR a.attidentity = 'a'
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
#: Columns of each unique index that holds for all rows.
UNIQUE = """
SELECT array_agg(a.attname::text) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
WHERE i.indrelid = %s::oid AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indisvalid
GROUP BY i.indexrelid
"""
#: Where a statement has its rows. No identifier can have it.
JSON = "\0"
#: What a user lacks to write it. An upsert reads what is there.
RIGHTS = "SELECT r FROM unnest(%s::text[]) r WHERE NOT has_table_privilege(%s::oid, r)"


@dataclass(frozen=True, slots=True)
class Table:
    """As it is on the server.

    Attributes:
        quoted: its name for SQL.
        columns: those that can be written.
        rest: the one for fields that have none.
        field: the one for an item's origin, if there is such a column.
    """

    name: str
    quoted: str
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    rest: str | None
    field: str | None

    def row_of(self, item: StoredItem) -> dict[str, Any]:
        """Column -> value, as JSON has it.

        Raises:
            ItemRefused: a field has no column, the key has no value.
        """
        fields: dict[str, Any] = json.loads(item.text)
        if self.field is not None and item.origin:
            fields.setdefault(self.field, dict(item.origin))
        row = {name: value for name, value in fields.items() if name in self.columns and name != self.rest}
        more = {name: value for name, value in fields.items() if name not in row}
        if self.rest is not None:
            row[self.rest] = more
        elif more:
            name = next(iter(more))
            raise ItemRefused(
                f"table {self.name} has no column for field {name!r}: ALTER TABLE {self.quoted} ADD COLUMN"
                f" {quoted(name)} text, or name a jsonb column in MOCRA_POSTGRES_REST"
            )
        for name in self.key:
            if row.get(name) is None:
                raise ItemRefused(f"field {name!r} of MOCRA_POSTGRES_KEY is missing or None")
        return row

    def upsert(self, names: tuple[str, ...]) -> bytes:
        """Insert rows that set *names*, given as one JSON array; or write them over what is there."""
        columns, key = ", ".join(map(quoted, names)), ", ".join(map(quoted, self.key))
        changed = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names if name not in self.key)
        then = f"UPDATE SET {changed}" if changed else "NOTHING"
        return _with_json(f"INSERT INTO {self.quoted} ({columns}) {self._rows(columns)} ON CONFLICT ({key}) DO {then}")

    def reads(self, name: str) -> bytes:
        """Only whether the server can read the values of one column."""
        return _with_json(self._rows(quoted(name)))

    def _rows(self, columns: str) -> str:
        # Identifiers are quoted, values are an argument.
        return f"SELECT {columns} FROM json_populate_recordset(NULL::{self.quoted}, {JSON}::json)"  # noqa: S608


def quoted(name: str) -> str:
    """An identifier for SQL."""
    return '"{}"'.format(name.replace('"', '""'))


def _with_json(statement: str) -> bytes:
    """For psycopg, which takes a % for an argument; identifiers may have one."""
    return statement.replace("%", "%%").replace(JSON, "%s").encode()


async def look_at(connection: AsyncConnection[Any], options: PostgresOptions, field: str) -> Table:
    """The table, which is created if it is missing and its columns are given.

    Raises:
        ConfigurationError: it can't be written as the settings want; names the column and the fix.
        psycopg.Error: of the server.
    """
    name = ".".join(map(quoted, options.table.split(".")))
    oid = await _oid(connection, name)
    if oid is None:
        if not options.columns:
            raise ConfigurationError(
                "MOCRA_POSTGRES_TABLE",
                f"there is no table {options.table!r} in this database",
                'Create it, or set MOCRA_POSTGRES_COLUMNS, as {"url": "text", "price": "numeric"}',
            )
        await _create(connection, name, options)
        oid = await _oid(connection, name)
    rows = await (await connection.execute(COLUMNS, (oid,))).fetchall()
    columns = {row[0]: Column(*row[1:4]) for row in rows if not row[4]}
    await _check_types(connection, options, columns)
    await _check_key(connection, options, oid, name, columns)
    wanted = ["INSERT", "UPDATE", "SELECT"] if options.key else ["INSERT"]
    lacking = [row[0] for row in await (await connection.execute(RIGHTS, (wanted, oid))).fetchall()]
    if lacking:
        raise ConfigurationError(
            "MOCRA_POSTGRES_TABLE",
            f"this user may not {' or '.join(lacking)} in {options.table!r}",
            f"GRANT {', '.join(wanted)} ON {name} TO the user",
        )
    if options.rest is not None and (options.rest not in columns or not columns[options.rest].json):
        raise ConfigurationError(
            "MOCRA_POSTGRES_REST",
            f"table {options.table!r} has no json or jsonb column {options.rest!r}",
            f"ALTER TABLE {name} ADD COLUMN {quoted(options.rest)} jsonb",
        )
    has_field = field in columns and columns[field].json
    return Table(options.table, name, columns, options.key, options.rest, field if has_field else None)


async def _oid(connection: AsyncConnection[Any], name: str) -> int | None:
    row = await (await connection.execute("SELECT to_regclass(%s)::oid", (name,))).fetchone()
    return None if row is None else row[0]


async def _create(connection: AsyncConnection[Any], name: str, options: PostgresOptions) -> None:
    columns = [f"{quoted(column)} {kind}" for column, kind in options.columns.items()]
    if options.key:
        columns.append(f"PRIMARY KEY ({', '.join(map(quoted, options.key))})")
    import psycopg

    try:
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(columns)})".encode())
    except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable, psycopg.errors.DuplicateObject):
        pass  # another worker has created it in the same moment
    except psycopg.errors.UndefinedObject as error:
        raise ConfigurationError(
            "MOCRA_POSTGRES_COLUMNS", str(error.diag.message_primary), "Use a type that this server has"
        ) from error


async def _check_types(
    connection: AsyncConnection[Any], options: PostgresOptions, columns: Mapping[str, Column]
) -> None:
    for column, kind in options.columns.items():
        there = columns.get(column)
        if there is None:
            raise ConfigurationError(
                f"MOCRA_POSTGRES_COLUMNS[{column!r}]",
                f"table {options.table!r} has no such column that can be written",
                f"ALTER TABLE {options.table} ADD COLUMN {quoted(column)} {kind}",
            )
        base = kind.lower().split(" not null")[0].split(" default")[0].split(" primary key")[0].split(" unique")[0]
        same = await (await connection.execute("SELECT to_regtype(%s) = to_regtype(%s)", (base, there.type))).fetchone()
        if same is not None and same[0] is False:
            raise ConfigurationError(
                f"MOCRA_POSTGRES_COLUMNS[{column!r}]",
                f"it is to be {kind!r}, and in table {options.table!r} it is {there.type!r}",
                f"Write {there.type!r}, or ALTER TABLE {options.table} ALTER COLUMN {quoted(column)} TYPE {kind}",
            )


async def _check_key(
    connection: AsyncConnection[Any],
    options: PostgresOptions,
    oid: int | None,
    name: str,
    columns: Mapping[str, Column],
) -> None:
    for column in options.key:
        if column not in columns:
            raise ConfigurationError(
                "MOCRA_POSTGRES_KEY",
                f"table {options.table!r} has no column {column!r}",
                f"Name columns that it has: {', '.join(columns)}",
            )
    unique = [set(row[0]) for row in await (await connection.execute(UNIQUE, (oid,))).fetchall()]
    if options.key and set(options.key) not in unique:
        raise ConfigurationError(
            "MOCRA_POSTGRES_KEY",
            f"nothing in table {options.table!r} makes {', '.join(options.key)} unique, so a row can't be written over",
            f"CREATE UNIQUE INDEX ON {name} ({', '.join(map(quoted, options.key))})",
        )
