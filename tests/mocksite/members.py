"""A site for members: a log-in, and pages that only they see."""

from __future__ import annotations

import gzip
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PASSWORD = "s3cret-password-of-the-account"


class Members:
    """Its cookie changes with each answer, and each value is good once.

    Attributes:
        planted: all that only a session may know.
        mixed: requests with one visitor's cookie and another one's token.
        through: token -> the proxies through which it came, by port.
        answered_log_ins: those that come after so many are never answered; *hanging*: how many wait.
    """

    def __init__(self) -> None:
        self.lock, self.cookies = threading.Lock(), {}  # type: Any, dict[str, str]
        self.planted, self.logins, self.refused, self.mixed = [PASSWORD], 0, 0, 0
        self.pages: list[str] = []
        self.through: dict[str, set[str]] = {}
        self.answered_log_ins, self.hanging, self.closed = 10**9, 0, threading.Event()
        members = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                members.answer(self, form)

            def do_GET(self) -> None:
                members.answer(self, "")

            def log_message(self, *args: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]  # a killed worker's connection
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Members:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, asked: BaseHTTPRequestHandler, form: str) -> None:
        if asked.path == "/login" and self.logins >= self.answered_log_ins:
            self.hanging += 1
            self.closed.wait()
            return
        with self.lock:
            status, body, cookie = self.judged(asked, form)
        coded = gzip.compress(body.encode())
        asked.send_response(status)
        if cookie:
            asked.send_header("Set-Cookie", f"sid={cookie}; Path=/")
        asked.send_header("Content-Type", "text/plain")
        asked.send_header("Content-Encoding", "gzip")
        asked.send_header("Content-Length", str(len(coded)))
        asked.end_headers()
        asked.wfile.write(coded)

    def judged(self, asked: BaseHTTPRequestHandler, form: str) -> tuple[int, str, str]:
        if asked.path == "/login":
            if form != f"password={PASSWORD}":
                return 401, "", ""
            self.logins += 1
            token = f"s3cret-token-{secrets.token_hex(4)}-{self.logins}"
            self.through[token] = {str(asked.headers.get("X-Through"))}
            return 200, self.plant(token), self.new_cookie(token)
        token = str(asked.headers.get("X-Token"))
        sent = (asked.headers.get("Cookie") or "").removeprefix("sid=")
        if self.cookies.get(token) != sent:
            self.mixed += sent in self.cookies.values()
            self.refused += 1
            return 403, "log in first", ""
        self.pages.append(asked.path)
        self.through[token].add(str(asked.headers.get("X-Through")))
        status = 500 if "/failing/" in asked.path else 200
        return status, token.rpartition("-")[2], self.new_cookie(token)

    def plant(self, text: str) -> str:
        self.planted.append(text)
        return text

    def new_cookie(self, token: str) -> str:
        self.cookies[token] = self.plant(f"s3cret-cookie-{secrets.token_hex(8)}")
        return self.cookies[token]
