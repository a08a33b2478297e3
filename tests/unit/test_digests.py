"""Digests of streams and files."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor.digests import (
    SM3_DEFAULT_LIMIT_BYTES,
    DigestStream,
    digest_file,
    digest_stream,
    sm3_default,
)
from anchor.errors import DigestClosed, FileUnreadable

# FIPS 180-4 and GB/T 32905-2016 appendix A.
SHA256_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
SM3_ABC = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
SM3_ABCD_16 = "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"


class Starved:
    """A hash that gets no memory."""

    def update(self, _: bytes) -> None:
        raise MemoryError


def sm3_threads() -> int:
    return sum(thread.name == "sm3" for thread in threading.enumerate())


def test_published_digests_of_abc() -> None:
    found = digest_stream([b"abc"], sm3=True)
    assert (found.sha256.hex(), found.size_bytes) == (SHA256_ABC, 3)
    assert found.sm3 is not None
    assert found.sm3.hex() == SM3_ABC


def test_published_sm3_digest_of_64_bytes() -> None:
    found = digest_stream([b"abcd"] * 16, sm3=True)
    assert found.sm3 is not None
    assert found.sm3.hex() == SM3_ABCD_16


def test_sm3_is_none_when_off() -> None:
    assert digest_stream([b"abc"], sm3=False).sm3 is None


def test_chunking_does_not_matter() -> None:
    content = bytes(range(256)) * 5000
    whole = digest_stream([content], sm3=True)
    pieces = [content[at : at + 777] for at in range(0, len(content), 777)]
    assert digest_stream(pieces, sm3=True) == digest_stream([b"", *pieces, b""], sm3=True) == whole
    assert whole.sha256 == hashlib.sha256(content).digest()


def test_empty_stream_has_the_digest_of_nothing() -> None:
    assert digest_stream([], sm3=False).sha256 == hashlib.sha256(b"").digest()


def test_buffer_that_is_filled_again_does_not_change_the_digest() -> None:
    buffer, copies = bytearray(4096), []
    with DigestStream(sm3=True) as stream:
        for value in range(200):
            buffer[:] = bytes([value]) * len(buffer)
            copies.append(bytes(buffer))
            stream.update(buffer)
        found = stream.finish()
    assert found == digest_stream(copies, sm3=True)


def test_finished_stream_takes_nothing_more() -> None:
    stream = DigestStream(sm3=True)
    stream.finish()
    for call in (lambda: stream.update(b"x"), stream.finish):
        with pytest.raises(DigestClosed):
            call()
    stream.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("chunks", [2, 40], ids=["the last chunk", "more than can wait"])
def test_a_thread_that_got_no_memory_gives_no_digest(chunks: int) -> None:
    stream = DigestStream(sm3=True)
    stream.update(bytes(200_000))
    thread = stream._sm3
    assert thread is not None
    thread._hash = Starved()
    with pytest.raises(MemoryError):
        for _ in range(chunks):
            stream.update(bytes(1000))
        stream.finish()


def test_failing_source_leaves_no_thread_behind() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 1000
        raise ConnectionError

    before = sm3_threads()
    with pytest.raises(ConnectionError):
        digest_stream(broken(), sm3=True)
    assert sm3_threads() == before


def test_file_is_read_in_chunks(tmp_path: Path) -> None:
    (tmp_path / "材料.bin").write_bytes(b"abc" * 1000)
    expected = digest_stream([b"abc" * 1000], sm3=True)
    assert digest_file(tmp_path / "材料.bin", sm3=True, chunk_bytes=7) == expected
    assert digest_file(str(tmp_path / "材料.bin"), sm3=True) == expected


@pytest.mark.parametrize("name", ["not there", "."])
def test_unreadable_file_is_named_by_cause_only(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileUnreadable) as caught:
        digest_file(tmp_path / name, sm3=False)
    assert str(tmp_path) not in f"{caught.value} {caught.value.facts}"
    assert caught.value.facts["errno"] in (2, 21)


def test_sm3_is_default_below_64_mib() -> None:
    assert SM3_DEFAULT_LIMIT_BYTES == 67108864
    assert (sm3_default(0), sm3_default(67108863), sm3_default(67108864)) == (True, True, False)
