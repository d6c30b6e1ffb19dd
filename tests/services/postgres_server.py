"""A real PostgreSQL server, with a cluster of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.services.shared import SharedServer

PASSWORD = "a:b@c/d"
HOW = "apt-get install postgresql"
USER = "postgres"


def binaries() -> Path | None:
    """Of the newest version that Debian has put there, or of the one on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    other = shutil.which("initdb")
    return found[-1].parent if found else Path(other).resolve().parent if other else None


def installed() -> bool:
    if binaries() is None or os.getuid():
        return binaries() is not None
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(USER))
    return False


class PostgresServer(SharedServer):
    """User ``postgres`` with :data:`PASSWORD`. As root it runs as the system's user of that name, in
    a folder that this one may enter: pytest's are closed to others.
    """

    in_order, as_crash = signal.SIGINT, signal.SIGQUIT  # to its children as well

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.options = options

    @property
    def port(self) -> int:
        return self.ports[0]

    def url(self, user: str = USER, password: str = PASSWORD, database: str = "app", options: str = "") -> str:
        from urllib.parse import quote

        more = f"?options={quote(options)}" if options else ""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}{more}"

    def client(self, **options: Any) -> Any:
        import psycopg

        return psycopg.connect(self.url(**options), autocommit=True)

    @contextlib.contextmanager
    def schema(self) -> Iterator[str]:
        """URL of a schema that is empty, and gone afterwards."""
        name = f"t{uuid4().hex}"
        with self.client() as client:
            client.execute(f"CREATE SCHEMA {name}")
        try:
            yield self.url(options=f"-csearch_path={name}")
        finally:
            with self.client() as client:
                client.execute(f"DROP SCHEMA {name} CASCADE")

    # ------------------------------------------------------------------ what is started

    @property
    def data(self) -> Path:
        return Path((self.folder / "where").read_text())

    def prepare(self) -> None:
        where = Path(tempfile.mkdtemp(prefix="mocra-test-postgres-")) / "data"
        (self.folder / "where").write_text(str(where))
        password = where.with_name("password")
        password.write_text(PASSWORD)
        if not os.getuid():
            for path in (where.parent, password):
                shutil.chown(path, USER)
        bin_ = binaries()
        assert bin_ is not None
        told = ["-U", USER, f"--pwfile={password}", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(
            [*self._become(), str(bin_ / "initdb"), "-D", str(where), *told, "--no-sync"],
            cwd=where.parent,
            check=True,
            capture_output=True,
        )

    def command(self) -> Sequence[str]:
        # What a crash of the process can lose is tested, not what one of the machine can.
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.data), "-c", "fsync=off"]
        return [*self._become(), f"{binaries()}/postgres", "-D", str(self.data), *options, *self.options]

    @staticmethod
    def _become() -> list[str]:
        if os.getuid():
            return []
        return ["setpriv", f"--reuid={USER}", f"--regid={pwd.getpwnam(USER).pw_gid}", "--clear-groups"]

    def answers(self) -> bool:
        import psycopg

        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(self.url(database="postgres"), autocommit=True, connect_timeout=5) as client,
        ):
            if client.execute("SELECT 1 FROM pg_database WHERE datname = 'app'").fetchone() is None:
                client.execute("CREATE DATABASE app")
            return True
        return False

    def ended(self) -> None:
        shutil.rmtree(self.data.parent, ignore_errors=True)
