"""Questions to brokers, when one does not answer."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future

import pytest

from mocra_scrapy.backends.kafka import admin as module
from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.admin import Admin
from mocra_scrapy.exceptions import BackendUnavailable

pytest.importorskip("confluent_kafka")


class Asked:
    """Answers from the attempt *answers* on. *clients*: who asked."""

    def __init__(self, answers: int) -> None:
        self.answers, self.clients = answers, []  # type: ignore[var-annotated]

    def __call__(self, client: object) -> dict[str, Future[int]]:
        self.clients.append(client)
        answer: Future[int] = Future()
        if len(self.clients) >= self.answers:
            answer.set_result(7)
        return {"a": answer}


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Admin:
    monkeypatch.setattr(module, "ATTEMPTS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(module.Ears, "error", lambda _ears, _error: None)  # some brokers are there
    return Admin(read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9", {}))


def test_a_client_that_has_no_answer_is_asked_no_more(admin: Admin) -> None:
    asked = Asked(3)
    assert admin.ask(asked)["a"].result() == 7
    assert len(set(map(id, asked.clients))) == 3, "each attempt is a new client's"
    later = Asked(1)
    admin.ask(later)
    assert later.clients == asked.clients[-1:], "one that answers stays"


def test_attempts_end(admin: Admin) -> None:
    asked = Asked(9)
    with pytest.raises(BackendUnavailable, match="no answer in time"):
        admin.ask(asked)
    assert len(asked.clients) == 3


def test_nobody_asks_on_for_who_has_given_up(admin: Admin) -> None:
    asked = Asked(9)
    with pytest.raises(BackendUnavailable):
        admin.ask(asked, lambda: True)
    assert len(asked.clients) == 1


def test_what_changes_something_is_said_once(admin: Admin) -> None:
    asked = Asked(2)
    with pytest.raises(BackendUnavailable):
        admin.ask_once(asked, patience=0.0)
    assert len(asked.clients) == 1


def test_a_client_does_not_end_where_it_answers() -> None:
    """It is garbage with a question under way, and collected in its own thread: librdkafka ended the process."""
    script = """
import gc, socket, threading
from confluent_kafka import TopicCollection
from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.admin import Admin
from mocra_scrapy.exceptions import BackendUnavailable

answered = threading.Event()

def question(client):
    found = client.describe_topics(TopicCollection(["t"]), request_timeout=0.3)
    for answer in found.values():
        answer.add_done_callback(lambda _: (gc.collect(), answered.set()))
    return found

def ask(port):
    try:
        Admin(read_address("MOCRA_QUEUE_BACKEND", f"kafka://127.0.0.1:{port}", {})).ask_once(question, patience=0.0)
    except BackendUnavailable as error:
        failed = error  # whose traceback has this frame, which has it

with socket.create_server(("127.0.0.1", 0)) as silent:
    gc.disable()
    ask(silent.getsockname()[1])
    assert answered.wait(60)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
