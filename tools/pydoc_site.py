"""Serves Python's own documentation browser (``pydoc``) on loopback: real pages that nobody here
wrote.

    python tools/pydoc_site.py [--port 0] [--pages 2000]     prints its address

Each page is rendered in a process of its own, forked for it: pydoc imports what it documents, and
that must neither pile up nor take the server down. The index lists modules of the standard library,
``--pages`` bounds how many pages are linked at all.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import pydoc
import re
import signal
import socketserver
import sys
import sysconfig
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import unquote, urlsplit

#: Importing these does something that nobody asked for (opens a browser, prints, waits for a
#: terminal).
LEFT_OUT = {
    "antigravity",
    "this",
    "idlelib",
    "turtledemo",
    "turtle",
    "tkinter",
    "test",
    "lib2to3",
    "ensurepip",
    "__main__",
}
RENDER_TIMEOUT = 20  # s


def modules(most: int) -> list[str]:
    """Names of documented modules, nothing imported: the standard library's, then what is installed
    beside it.
    """
    found = [n for n in sorted(sys.stdlib_module_names) if not n.startswith("_") and n not in LEFT_OUT]
    todo = [(sysconfig.get_path("stdlib"), ""), (sysconfig.get_path("purelib"), "")]
    while todo and len(found) < most:
        folder, prefix = todo.pop(0)
        for info in sorted(pkgutil.iter_modules([folder], prefix)):
            last = info.name.rpartition(".")[2]
            if last.startswith("_") or last in LEFT_OUT or last in {"tests", "conftest"}:
                continue
            found.append(info.name)
            if info.ispkg:
                todo.append((f"{folder}/{last}", f"{info.name}."))
    return list(dict.fromkeys(found))[:most]


class Site(socketserver.ForkingMixIn, HTTPServer):
    max_children = 4
    request_queue_size = 512
    allowed: frozenset[str] = frozenset()


class Page(BaseHTTPRequestHandler):
    """Renders one page; runs in a forked child."""

    def do_GET(self) -> None:
        signal.alarm(RENDER_TIMEOUT)
        url = urlsplit(self.path)
        path = unquote(url.path.lstrip("/")) + (f"?{unquote(url.query)}" if url.query else "")
        if path == "robots.txt":
            self._answer(404, b"", "text/plain")
            return
        name = path.removesuffix(".html").split("?key=")[-1]
        topic = path.startswith("topic?key=") and name in pydoc.Helper.topics | pydoc.Helper.keywords
        if (
            path not in ("", "index.html", "topics.html", "keywords.html")
            and name not in self.server.allowed
            and not topic
        ):
            self._answer(404, b"not documented here", "text/plain")
            return
        html = self._index() if path in ("", "index.html") else pydoc._url_handler(path, "text/html")
        self._answer(200, self._inside(html).encode(), "text/html; charset=utf-8")

    def _index(self) -> str:
        links = "".join(f'<li><a href="{name}.html">{name}</a></li>' for name in sorted(self.server.allowed))
        more = '<a href="topics.html">Topics</a> <a href="keywords.html">Keywords</a>'
        return f"<html><head><title>Pydoc: Index of Modules</title></head><body>{more}<ul>{links}</ul></body></html>"

    def _inside(self, html: str) -> str:
        """Without links to pages that are not here: source files, the web, modules that are left
        out.
        """

        def keep(match: re.Match[str]) -> str:
            target = match[1].partition("#")[0]
            name = target.removesuffix(".html").split("?key=")[-1]
            topic = target.startswith("topic?key=") and name in pydoc.Helper.topics | pydoc.Helper.keywords
            here = not target or topic or name in self.server.allowed or target == "topics.html"
            return match[0] if here else "<a>"

        return re.sub(r'<a href="([^"]*)">', keep, html)

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet: the crawl's own log tells what is fetched."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pages", type=int, default=2000)
    options = parser.parse_args()
    os.environ["BROWSER"] = "true"
    site = Site(("127.0.0.1", options.port), Page)
    topics = len(pydoc.Helper.topics | pydoc.Helper.keywords)
    site.allowed = frozenset(modules(max(1, options.pages - topics - 3)))
    print(f"http://127.0.0.1:{site.server_address[1]}/", flush=True)
    # What a rendered module prints when it is imported is not for our terminal.
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of the process
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stdout.fileno(), 2)
    site.serve_forever()


if __name__ == "__main__":
    main()
