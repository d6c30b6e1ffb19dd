"""Commands open backends in one place."""

from __future__ import annotations

from pathlib import Path

import pytest
from scrapy.settings import Settings

from mocra_scrapy.commands.verbs import backend_session
from mocra_scrapy.commands.verbs.backend_session import opened_backend
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.crawl import read_options


def test_no_other_command_opens_a_backend() -> None:
    here = Path(backend_session.__file__)
    others = [path for path in here.parents[1].rglob("*.py") if path != here]
    for path in others:
        text = path.read_text(encoding="utf-8")
        assert "open_backend(" not in text, path
        assert "open_by_role(" not in text, path
        assert "store.open(" not in text, path


async def test_a_private_backend_is_refused_unless_it_will_do() -> None:
    options = read_options(Settings({"MOCRA_BACKEND": "memory://"}), "books")
    with pytest.raises(ConfigurationError, match="there is nothing to look at"):
        async with opened_backend(options):
            pass
    async with opened_backend(options, private=True) as (backend, report):
        assert backend.url == "memory://"
        assert report.warnings is not None
