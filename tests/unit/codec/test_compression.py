"""Compressed payloads: come back byte for byte, small, bounded; anything else is unreadable, never
more than it may be.
"""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocra_scrapy.codec import compression as _compression
from mocra_scrapy.codec.compression import LEVEL, MAGIC, SIZE, Dictionary, identity_of, train, wanted, zstd
from mocra_scrapy.exceptions import UnreadablePayload

MOST = 1 << 20


def payloads(count: int, site: str = "http://site.test/books", seed: int = 0) -> list[bytes]:
    """Like the codec's: the same fields, other names."""
    rng = random.Random(seed)
    words = [f"{rng.getrandbits(24):x}" for _ in range(400)]
    return [
        f"\x01{site}/{rng.choice(words)}/{rng.choice(words)}.html parse Referer {site}/{rng.choice(words)}/ depth {i % 5}".encode()
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    made = train(payloads(400), None)
    assert made is not None
    return made


def test_a_dictionary_makes_payloads_small(dictionary: Dictionary) -> None:
    others = payloads(300, seed=1)
    stored = [dictionary.compress(payload) for payload in others]
    assert sum(map(len, stored)) < 0.6 * sum(map(len, others))
    assert [dictionary.decompress(one, MOST) for one in stored] == others
    assert {wanted(one) for one in stored} == {dictionary.identity}
    assert stored == [Dictionary(dictionary.content).compress(payload) for payload in others], (
        "in every worker the same"
    )


def test_what_gets_no_smaller_is_stored_as_it_is(dictionary: Dictionary) -> None:
    for payload in (b"\x01", b"\x01" + random.Random(1).randbytes(100), b"\x80x"):
        assert dictionary.compress(payload) is payload
        assert wanted(payload) is None
    assert wanted(b"") is wanted(b"\x02") is wanted(b"\x02\x00") is None


def test_large_payloads_come_back(dictionary: Dictionary) -> None:
    large = b"\x01" + b"".join(payloads(5000, seed=2))
    assert dictionary.decompress(dictionary.compress(large), MOST) == large
    with pytest.raises(UnreadablePayload, match="more than MOCRA_ENTRY_MAX_BYTES = 100"):
        dictionary.decompress(dictionary.compress(large), 100)


def _packed(frame: bytes) -> bytes:
    assert frame.startswith(MAGIC)
    return b"\x02\x00\x00" + frame[len(MAGIC) :]


def test_a_bomb_is_not_decoded(dictionary: Dictionary, monkeypatch: pytest.MonkeyPatch) -> None:
    class Untouchable:
        def __init__(self, **options: object) -> None:
            raise AssertionError("it was decoded")

    monkeypatch.setattr(_compression.zstd, "ZstdDecompressor", Untouchable)
    bomb = _packed(zstd.compress(bytes(100 * MOST)))
    assert len(bomb) < 10_000
    with pytest.raises(UnreadablePayload, match="bytes when decompressed"):
        dictionary.decompress(bomb, MOST)
    silent = zstd.ZstdCompressor(options={zstd.CompressionParameter.content_size_flag: 0})
    with pytest.raises(UnreadablePayload, match="None bytes when decompressed"):
        dictionary.decompress(_packed(silent.compress(bytes(MOST), silent.FLUSH_FRAME)), MOST)


def test_a_frame_that_lies_about_its_size_is_refused(dictionary: Dictionary) -> None:
    stored = bytearray(dictionary.compress(payloads(1, seed=9)[0]))
    for size in range(256):
        if size != stored[4]:
            changed = bytes([*stored[:4], size, *stored[5:]])
            with pytest.raises(UnreadablePayload):
                dictionary.decompress(changed, MOST)


def test_what_is_cut_off_or_too_long_is_refused(dictionary: Dictionary) -> None:
    stored = dictionary.compress(payloads(1, seed=3)[0])
    for end in range(3, len(stored)):
        with pytest.raises(UnreadablePayload):
            dictionary.decompress(stored[:end], MOST)
    with pytest.raises(UnreadablePayload, match="too long"):
        dictionary.decompress(stored + b"x", MOST)


@given(data=st.binary(max_size=200))
def test_foreign_bytes_are_unreadable_or_bytes(data: bytes) -> None:
    made = Dictionary(CONTENT)
    with contextlib.suppress(UnreadablePayload):
        assert len(made.decompress(b"\x02\x00\x00" + data, 1000)) <= 1000


@given(payload=st.binary(max_size=2000))
def test_any_payload_comes_back(payload: bytes) -> None:
    made = Dictionary(CONTENT)
    stored = made.compress(b"\x01" + payload)
    assert (made.decompress(stored, MOST) if wanted(stored) is not None else stored) == b"\x01" + payload


CONTENT = zstd.train_dict(payloads(400), SIZE).dict_content


def test_bytes_that_are_no_dictionary_are_refused() -> None:
    for content in (b"", b"abc", b"\x37\xa4\x30\xec" + bytes(100)):
        with pytest.raises(UnreadablePayload, match="a compression dictionary that is none"):
            Dictionary(content)


def test_identities_are_made_of_the_content() -> None:
    names = {identity_of(b"%d" % i) for i in range(300)}
    assert len(names) > 290
    assert all(0 <= name <= 65_535 for name in names)


def test_a_new_dictionary_must_pay(dictionary: Dictionary) -> None:
    assert train(payloads(1200, seed=4), dictionary) is None, "more of the same"
    moved = payloads(1200, site="https://shop.test/fr/produits/accessoires", seed=5)
    better = train(moved, dictionary)
    assert better is not None
    assert sum(len(better.compress(p)) for p in moved) < 0.9 * sum(len(dictionary.compress(p)) for p in moved)
    assert train([random.Random(i).randbytes(100) for i in range(400)], None) is None, "nothing in common"
    assert train([b"\x01"] * 400, None) is None, "too short for any"
    assert train([], None) is None
    assert LEVEL < 10
