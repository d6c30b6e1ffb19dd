"""Real forward proxies on loopback, that let through only what goes to 127.0.0.0/8: squid with a
password, tinyproxy with one, microsocks with one, dante.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

from tests.services.processes import Server, free_port

HOW = "apt-get install squid tinyproxy microsocks dante-server"
PROGRAMS = {"squid": "squid", "tinyproxy": "tinyproxy", "microsocks": "microsocks", "dante": "danted"}
USER = "zoe"

SQUID = """
http_port 127.0.0.1:{port}
auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/passwords
acl known proxy_auth REQUIRED
acl local dst 127.0.0.0/8
http_access deny !local
http_access deny !known
http_access allow local
cache deny all
cache_mem 8 MB
pid_filename none
access_log none
cache_log {folder}/errors.log
coredump_dir none
shutdown_lifetime 0 seconds
pinger_enable off
visible_hostname localhost
"""
TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 100
LogLevel Error
LogFile "{folder}/errors.log"
BasicAuth {user} {password}
Allow 127.0.0.1
DisableViaHeader Yes
"""
DANTE = """
logoutput: {folder}/errors.log
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: none
user.unprivileged: nobody
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 127.0.0.0/8 }}
"""


def missing() -> list[str]:
    """Programs that are not there."""
    return [program for program in PROGRAMS.values() if shutil.which(program) is None]


class RealProxies:
    """One of each, with the password *password* where it takes one.

    Attributes:
        urls: name -> URL, with user name and password.
    """

    def __init__(self, folder: Path, password: str) -> None:
        self.folder, self.password = folder, password
        self.ports = {name: free_port() for name in PROGRAMS}
        self.urls = {
            "squid": f"http://{USER}:{password}@127.0.0.1:{self.ports['squid']}",
            "tinyproxy": f"http://{USER}:{password}@127.0.0.1:{self.ports['tinyproxy']}",
            "microsocks": f"socks5://{USER}:{password}@127.0.0.1:{self.ports['microsocks']}",
            "dante": f"socks5://127.0.0.1:{self.ports['dante']}",
        }
        self.servers: list[Server] = []

    def __enter__(self) -> RealProxies:
        try:
            for name, command in self._commands().items():
                self._start(name, command)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()

    def _start(self, name: str, command: list[str]) -> None:
        server = Server(command, self.folder / name, lambda: self._answers(self.ports[name]))
        self.servers.append(server)
        server.start()

    @staticmethod
    def _answers(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def _commands(self) -> dict[str, list[str]]:
        hashed = subprocess.run(
            ["openssl", "passwd", "-apr1", self.password], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name, template in (("squid", SQUID), ("tinyproxy", TINYPROXY), ("dante", DANTE)):
            folder = self.folder / name
            folder.mkdir(parents=True)
            text = template.format(port=self.ports[name], folder=folder, user=USER, password=self.password)
            (folder / "conf").write_text(text)
        squid = self.folder / "squid"
        (squid / "passwords").write_text(f"{USER}:{hashed}\n")
        self._for_squid(squid)
        return {
            "squid": ["squid", "-N", "-f", str(squid / "conf")],
            "tinyproxy": ["tinyproxy", "-d", "-c", str(self.folder / "tinyproxy" / "conf")],
            "microsocks": [
                "microsocks",
                "-i",
                "127.0.0.1",
                "-p",
                str(self.ports["microsocks"]),
                "-u",
                USER,
                "-P",
                self.password,
            ],
            "dante": ["danted", "-f", str(self.folder / "dante" / "conf")],
        }

    @staticmethod
    def _for_squid(folder: Path) -> None:
        """As root it becomes ``proxy``, which has to reach its folder."""
        if os.getuid() != 0:
            return
        user = pwd.getpwnam("proxy")
        os.chown(folder, user.pw_uid, user.pw_gid)
        for parent in [folder, *folder.parents]:
            if parent.stat().st_uid == 0 and parent.stat().st_mode & 0o077 == 0:
                parent.chmod(0o711)
