"""``PostgresPipeline`` on a real server."""

from __future__ import annotations

import asyncio
import re
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from mocra_scrapy.exceptions import ConfigurationError, ItemRefused, SinkUnavailable
from mocra_scrapy.pipelines.postgres import PostgresPipeline
from tests.integration.sinks.storing import ORIGIN, Told, batcher, books, opened, sink_of, stored
from tests.services.postgres_server import PostgresServer
from tests.services.processes import free_port

pytestmark = [pytest.mark.postgres, pytest.mark.other_server]
BOOKS = {"id": "bigint", "title": "text", "price": "numeric"}


def where(url: str, **more: Any) -> dict[str, Any]:
    return {"POSTGRES_URL": url, "POSTGRES_TABLE": "books", **more}


def rows(url: str, query: str = "SELECT id, title, price FROM books ORDER BY id") -> list[Any]:
    with psycopg.connect(url, autocommit=True) as client:
        return client.execute(query.encode()).fetchall()


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as client:
        for statement in statements:
            client.execute(statement.encode())


async def test_with_a_key_there_is_one_row_for_each_however_often_it_is_written(postgres_url: str) -> None:
    async with opened(PostgresPipeline, **where(postgres_url, POSTGRES_KEY=["id"], POSTGRES_COLUMNS=BOOKS)) as sink:
        await sink.write([*books(500, price=1.5), stored({"id": 3, "title": "new"})])
        await sink.write(books(500, price=2))  # the page was fetched again
        await sink.write([stored({"id": 7, "title": "only its title"})])
    found = rows(postgres_url)
    assert len(found) == 500
    assert found[3] == (3, "book 3", Decimal(2))
    assert found[7] == (7, "only its title", Decimal(2)), "what an item does not have stays"


async def test_without_a_key_each_item_is_a_row_whatever_is_in_it(postgres_url: str) -> None:
    run(
        postgres_url,
        "CREATE TABLE books (n serial, title text, tags text[], more jsonb, day date, ok boolean DEFAULT true,"
        ' "50% ""off""" int, _mocra jsonb, kept text DEFAULT \'default\', twice int GENERATED ALWAYS AS (n * 2) STORED)',
    )
    awkward = "tab\t newline\n return\r backslash\\ \\. \\N quote\" ' ünï ☃ {,}"
    item = {
        "title": awkward,
        "tags": [awkward, None, "NULL", "", "a,b"],
        "more": {"x": [1, awkward]},
        "day": date(2026, 11, 29),
        "ok": False,
        '50% "off"': 5,
    }
    async with opened(PostgresPipeline, **where(postgres_url)) as sink:
        await sink.write([stored(item), stored({}), stored({"title": None}), stored(item)])
    found = rows(postgres_url, "SELECT * FROM books ORDER BY n")
    values = [item["title"], item["tags"], item["more"], item["day"], False, 5, ORIGIN, "default"]
    assert sum(list(row[1:-1]) == values for row in found) == 2
    nothing = [None, None, None, None, True, None, ORIGIN, "default"]
    assert sum(list(row[1:-1]) == nothing for row in found) == 2
    assert len(found) == 4


async def test_names_with_a_percent_sign_and_a_key(postgres_url: str) -> None:
    columns = {"50% %s": "int", "id": "int"}
    async with opened(PostgresPipeline, **where(postgres_url, POSTGRES_COLUMNS=columns, POSTGRES_KEY=["id"])) as sink:
        await sink.write([stored({"50% %s": 1, "id": 1})])
        await sink.write([stored({"50% %s": 2, "id": 1})])
    assert rows(postgres_url, "SELECT * FROM books") == [(2, 1)]


async def test_a_poisoned_item_of_500_is_found_and_the_others_are_stored_once(postgres_url: str) -> None:
    told = Told()
    batch = books(500, price=1)
    batch[77] = stored({"id": 77, "title": "t", "price": "a lot"})
    batch[78] = stored({"id": 78, "title": "half \0", "price": 1})
    async with opened(PostgresPipeline, **where(postgres_url, POSTGRES_COLUMNS=BOOKS)) as sink:
        storing = batcher(sink, told)
        results = await asyncio.gather(*map(storing.store, batch), return_exceptions=True)
    assert {at for at, result in enumerate(results) if result is not None} == {77, 78}
    assert "column 'price' (numeric) does not take 'a lot': invalid input syntax for type numeric" in str(results[77])
    assert [row[0] for row in rows(postgres_url)] == [n for n in range(500) if n not in (77, 78)]


async def test_a_field_without_a_column_is_refused_unless_there_is_a_column_for_the_rest(postgres_url: str) -> None:
    columns = {"id": "int", "rest": "jsonb"}
    run(postgres_url, "CREATE TABLE books (id int, rest jsonb)")
    async with opened(PostgresPipeline, **where(postgres_url)) as sink:
        with pytest.raises(ItemRefused, match=r"no column for field 'title': ALTER TABLE .* ADD COLUMN") as refused:
            await sink.write([stored({"id": 1}), stored({"id": 2, "title": "t"})])
        assert set(refused.value.which or ()) == {1}
    kept = where(postgres_url, POSTGRES_COLUMNS=columns, POSTGRES_REST="rest")
    async with opened(PostgresPipeline, **kept) as sink:
        await sink.write([stored({"id": 2, "title": "t", "rest": "mine"})])
    assert rows(postgres_url, "SELECT * FROM books") == [(2, {"title": "t", "rest": "mine"})]


async def test_workers_that_begin_together_create_the_table_once(postgres_url: str) -> None:
    sinks = [
        sink_of(PostgresPipeline, **where(postgres_url, POSTGRES_KEY=["id"], POSTGRES_COLUMNS=BOOKS)) for _ in range(8)
    ]
    await asyncio.gather(*(sink.open() for sink in sinks))
    await asyncio.gather(*(sink.write(books(100)) for sink in sinks))
    for sink in sinks:
        await sink.close()
    assert len(rows(postgres_url)) == 100


async def test_workers_that_write_over_the_same_rows_in_another_order_begin_anew(postgres_url: str) -> None:
    """Two shapes of rows are two statements, and may take the rows' locks the other way round."""
    kept = where(postgres_url, POSTGRES_KEY=["id"], POSTGRES_COLUMNS=BOOKS)
    thin, thick = ({"id": n} for n in (1, 2)), ({"id": n, "title": "t"} for n in (1, 2))
    (a1, a2), (b1, b2) = map(stored, thin), map(stored, thick)
    async with opened(PostgresPipeline, **kept) as one, opened(PostgresPipeline, **kept) as other:
        for _ in range(20):
            await asyncio.gather(one.write([a1, b2]), other.write([a2, b1]))
    assert [row[0] for row in rows(postgres_url)] == [1, 2]


@pytest.mark.parametrize(
    ("made", "settings", "words"),
    [
        ("", {}, r"MOCRA_POSTGRES_TABLE: there is no table 'books'.* Create it, or set MOCRA_POSTGRES_COLUMNS"),
        ("", {"POSTGRES_COLUMNS": {"id": "nonsense"}}, r"MOCRA_POSTGRES_COLUMNS: type \"nonsense\" does not exist"),
        (
            "CREATE TABLE books (id text)",
            {"POSTGRES_COLUMNS": {"id": "int"}},
            r"MOCRA_POSTGRES_COLUMNS\['id'\]: it is to be 'int', and in table 'books' it is 'text'. Write 'text', or ALTER",
        ),
        (
            "CREATE TABLE books (id int)",
            {"POSTGRES_COLUMNS": {"id": "integer NOT NULL", "url": "text"}},
            r"MOCRA_POSTGRES_COLUMNS\['url'\]: table 'books' has no such column .* ADD COLUMN \"url\" text",
        ),
        (
            "CREATE TABLE books (id int)",
            {"POSTGRES_KEY": ["id"]},
            r"MOCRA_POSTGRES_KEY: nothing in table 'books' makes id unique.* CREATE UNIQUE INDEX",
        ),
        ("CREATE TABLE books (id int)", {"POSTGRES_KEY": ["url"]}, r"MOCRA_POSTGRES_KEY: table .* no column 'url'"),
        ("CREATE TABLE books (id int)", {"POSTGRES_REST": "id"}, r"MOCRA_POSTGRES_REST: table .* no json or jsonb"),
    ],
)
async def test_a_table_that_does_not_fit_is_told_at_the_start(
    postgres_url: str, made: str, settings: dict[str, Any], words: str
) -> None:
    if made:
        run(postgres_url, made)
    with pytest.raises(ConfigurationError, match=words):
        await sink_of(PostgresPipeline, **where(postgres_url, **settings)).open()


async def test_who_may_not_write_is_told_what_to_grant(postgres: PostgresServer, postgres_url: str) -> None:
    role = f"r{re.findall('path=(t[0-9a-f]+)', postgres_url.replace('%3D', '='))[0]}"
    run(postgres_url, "CREATE TABLE books (id int PRIMARY KEY)", f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    run(postgres_url, f"GRANT USAGE ON SCHEMA {role[1:]} TO {role}", f"GRANT SELECT ON books TO {role}")
    theirs = postgres.url(user=role, password="p", options=f"-csearch_path={role[1:]}")
    try:
        with pytest.raises(ConfigurationError, match=r"may not INSERT or UPDATE in 'books'. GRANT INSERT, UPDATE, SEL"):
            await sink_of(PostgresPipeline, **where(theirs, POSTGRES_KEY=["id"])).open()
        run(postgres_url, f"GRANT INSERT ON books TO {role}")
        async with opened(PostgresPipeline, **where(theirs)) as sink:
            await sink.write([stored({"id": 1})])
            run(postgres_url, f"REVOKE INSERT ON books FROM {role}")
            with pytest.raises(ConfigurationError, match=r"may not INSERT|permission denied"):
                await sink.write([stored({"id": 2})])
            run(postgres_url, f"GRANT INSERT ON books TO {role}")
            await sink.write([stored({"id": 2})])
    finally:
        run(postgres_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert rows(postgres_url, "SELECT id FROM books ORDER BY id") == [(1,), (2,)]


async def test_a_wrong_password_and_a_missing_database_stop_the_crawl_before_it_starts(
    postgres: PostgresServer,
) -> None:
    for url in (postgres.url(password="hush-hush"), postgres.url(database="nowhere"), postgres.url(user="nobody")):
        with pytest.raises(ConfigurationError, match=r"MOCRA_POSTGRES_URL: .*Check user, password") as refused:
            await sink_of(PostgresPipeline, **where(url)).open()
        assert "hush-hush" not in str(refused.value)


async def test_a_server_that_is_not_there_may_come() -> None:
    url = f"postgresql://u:hush-hush@127.0.0.1:{free_port()}/app"
    with pytest.raises(
        SinkUnavailable, match=r"books of postgresql://u:\*+@127.*: connection to server .* failed: Connection refused$"
    ) as away:
        await sink_of(PostgresPipeline, **where(url)).open()
    assert "hush-hush" not in str(away.value)


@pytest.mark.parametrize("key", [["id"], []], ids=["upserts", "copies"])
async def test_a_server_that_crashes_in_mid_batch_and_comes_back_has_every_item(
    postgres_alone: PostgresServer, key: list[str]
) -> None:
    told, loop = Told(), asyncio.get_running_loop()
    all_books = books(3000)
    with postgres_alone.schema() as url:
        async with opened(PostgresPipeline, **where(url, POSTGRES_KEY=key, POSTGRES_COLUMNS=BOOKS)) as sink:
            storing = batcher(sink, told, items=20)
            stores = [asyncio.ensure_future(storing.store(book)) for book in all_books]
            await stores[200]
            assert not stores[-1].done()
            await loop.run_in_executor(None, postgres_alone.kill)
            while not told.outages:
                await asyncio.sleep(0.01)
            await loop.run_in_executor(None, postgres_alone.start)
            await asyncio.gather(*stores)
        found = [row[0] for row in rows(url)]
    assert set(found) == set(range(3000))
    assert len(found) == 3000 if key else len(found) <= 3020, "of the batch that was under way nobody knows"
