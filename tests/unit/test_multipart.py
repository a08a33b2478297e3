"""Uploads: `meta`, then `file`, however the network cuts them; anything else is a typed refusal."""

import asyncio
import itertools
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from node.http.errors import (
    FileNameInvalid,
    HttpError,
    RequestMediaUnsupported,
    UploadMalformed,
    UploadTooLarge,
    UploadTruncated,
)
from node.http.multipart import open_upload, safe_file_name

BOUNDARY = b"bound"
META = b'{"typeCode":"M1"}'


def part(name: str, content: bytes, *, extra: str = "", headers: bytes = b"") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"{extra}\r\n'.encode()
    return b"--" + BOUNDARY + b"\r\n" + disposition + headers + b"\r\n" + content + b"\r\n"


META_PART = part("meta", META, headers=b"Content-Type: application/json\r\n")
END = b"--" + BOUNDARY + b"--\r\n"


def file_part(content: bytes) -> bytes:
    return part("file", content, extra='; filename="a.pdf"', headers=b"Content-Type: application/pdf\r\n")


def request_of(pieces: list[bytes], *, content_type: str, gone: bool, length: int | None = None) -> Request:
    waiting = list(pieces)

    async def receive() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or gone}
        return (
            {"type": "http.disconnect"} if gone else {"type": "http.request", "body": b"", "more_body": False}
        )

    headers = [(b"content-type", content_type.encode("latin-1"))]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


def upload(
    *pieces: bytes,
    content_type: str = "multipart/form-data; boundary=bound",
    gone: bool = False,
    length: int | None = None,
    max_file_bytes: int = 1 << 20,
    max_meta_bytes: int = 1024,
    meta_required: bool = True,
) -> tuple[bytes | None, bytes, str, str]:
    """Run one upload to its end and return meta, file, file name and media type."""

    async def run() -> tuple[bytes | None, bytes, str, str]:
        found = await open_upload(
            request_of(list(pieces), content_type=content_type, gone=gone, length=length),
            max_file_bytes=max_file_bytes,
            max_meta_bytes=max_meta_bytes,
            meta_required=meta_required,
        )
        content = b"".join([chunk async for chunk in found.chunks()])
        return found.meta, content, found.file_name, found.media_type

    return asyncio.run(run())


def test_meta_and_file_arrive_as_they_were_sent() -> None:
    content = bytes(range(256)) * 100
    assert upload(META_PART + file_part(content) + END) == (META, content, "a.pdf", "application/pdf")


@given(
    content=st.binary(max_size=300)
    | st.lists(st.sampled_from([b"\r\n--bound", b"\r", b"--", b"\n", b"x"])).map(b"".join),
    cuts=st.lists(st.integers(0, 600), max_size=12),
)
def test_no_cut_of_the_network_changes_the_upload(content: bytes, cuts: list[int]) -> None:
    if b"\r\n--bound" in b"\r\n" + content:
        return  # the sender must choose a boundary that is not in the content
    body = META_PART + file_part(content) + END
    borders = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[start:end] for start, end in itertools.pairwise(borders)]
    assert upload(*pieces)[:2] == (META, content)


def test_each_byte_alone_gives_the_same_upload() -> None:
    content = b"\r\n--boun\r\n--bouND--\r"
    body = META_PART + file_part(content) + END
    assert upload(*[body[at : at + 1] for at in range(len(body))])[:2] == (META, content)


def test_every_shortened_upload_is_truncated() -> None:
    body = META_PART + file_part(b"content") + END
    for length in range(len(body) - len(b"--\r\n") + 1):
        for gone in (False, True):
            with pytest.raises(UploadTruncated):
                upload(body[:length], gone=gone)


@pytest.mark.parametrize(
    "body",
    [
        file_part(b"x") + META_PART + END,
        file_part(b"x") + END,
        META_PART + END,
        META_PART + META_PART + END,
        META_PART + part("other", b"x") + END,
        META_PART + file_part(b"x") + file_part(b"y") + END,
        META_PART + file_part(b"x") + part("meta", b"{}") + END,
        part("Meta", META) + file_part(b"x") + END,
        END,
    ],
    ids=[
        "swapped",
        "no meta",
        "no file",
        "two metas",
        "other part",
        "two files",
        "late meta",
        "case",
        "none",
    ],
)
def test_other_parts_or_another_order_are_refused(body: bytes) -> None:
    with pytest.raises(UploadMalformed):
        upload(body)


def test_meta_may_be_left_out_where_the_route_says_so() -> None:
    assert upload(file_part(b"x") + END, meta_required=False)[:2] == (None, b"x")
    assert upload(META_PART + file_part(b"x") + END, meta_required=False)[:2] == (META, b"x")


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "b" * 71,
        'multipart/form-data; boundary="b\u00e9"',
        'multipart/form-data; boundary="bound "',
        "multipart/form-data; boundary=other",
    ],
)
def test_a_missing_wrong_or_unusable_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(UploadMalformed):
        upload(META_PART + file_part(b"x") + END, content_type=content_type)


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/mixed; boundary=bound"])
def test_another_media_type_is_refused(content_type: str) -> None:
    with pytest.raises(RequestMediaUnsupported):
        upload(META_PART + file_part(b"x") + END, content_type=content_type)


def test_the_file_is_bounded_to_the_byte_while_counting() -> None:
    body = META_PART + file_part(b"x" * 100) + END
    assert len(upload(body, max_file_bytes=100)[1]) == 100
    with pytest.raises(UploadTooLarge):
        upload(body, max_file_bytes=99)


def test_a_file_that_never_ends_is_refused_without_being_read_to_an_end() -> None:
    async def run() -> int:
        async def receive() -> Message:
            return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

        head = META_PART + file_part(b"")[:-2]
        request = request_of([head], content_type="multipart/form-data; boundary=bound", gone=True)
        first = request._receive

        async def receive_both() -> Message:
            message = await first()
            return message if message["type"] == "http.request" else await receive()

        request._receive = receive_both
        found = await open_upload(request, max_file_bytes=10_000)
        return sum([len(chunk) async for chunk in found.chunks()])

    with pytest.raises(UploadTooLarge):
        asyncio.run(run())


def test_a_declared_length_beyond_the_bound_is_refused_before_a_byte_is_read() -> None:
    with pytest.raises(UploadTooLarge):
        upload(length=10 << 20)


def test_meta_is_bounded() -> None:
    with pytest.raises(UploadTooLarge):
        upload(part("meta", b"x" * 1025) + file_part(b"x") + END)


@pytest.mark.parametrize(
    "bad_part",
    [
        part("meta", META, headers=b"".join(b"X-%d: 1\r\n" % number for number in range(9))),
        part("meta", META, headers=b"X-Long: " + b"x" * 3000 + b"\r\n"),
        part("meta", META, headers=b'content-disposition: form-data; name="meta"\r\n'),
        part("meta", META, headers=b"Content-Transfer-Encoding: base64\r\n"),
        part("meta", META, headers=b"Content-Type: text\r\n"),
        b"--bound\r\n\r\n" + META + b"\r\n",
        b'--bound\r\nContent-Disposition: attachment; name="meta"\r\n\r\n' + META + b"\r\n",
        b"--bound\r\nContent-Disposition: form-data\r\n\r\n" + META + b"\r\n",
        b'--bound\r\nContent Disposition: form-data; name="meta"\r\n\r\n' + META + b"\r\n",
        b"--boundary\r\n" + META_PART[9:],
        b"junk" + META_PART,
    ],
    ids=[
        "many headers",
        "long header",
        "repeated header",
        "base64",
        "bad type",
        "no headers",
        "attachment",
        "no name",
        "bad header",
        "longer boundary",
        "preamble",
    ],
)
def test_a_malformed_part_is_refused(bad_part: bytes) -> None:
    with pytest.raises(UploadMalformed):
        upload(bad_part + file_part(b"x") + END)


@given(st.binary(max_size=400))
def test_random_bodies_raise_only_typed_errors(body: bytes) -> None:
    for prefix in (b"", b"--bound\r\n", META_PART, META_PART + b"--bound"):
        with pytest.raises(HttpError):
            upload(prefix + body)


def test_nothing_is_written_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a temporary file was opened")

    for name in ("SpooledTemporaryFile", "NamedTemporaryFile", "TemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    content = b"x" * (3 << 20)
    assert upload(META_PART + file_part(content) + END, max_file_bytes=4 << 20)[1] == content


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.pdf", "a.pdf"),
        ("租赁合同 2026.pdf", "租赁合同 2026.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.pdf", "a.pdf"),
        ("/a/b/", ""),
        ("..", ""),
        (".", ""),
        ("", ""),
        ("  ", ""),
        ("a\x00.pdf", ""),
        ("a\r\nb", ""),
        ("a\u202efdp.exe", ""),
        ("e\u0301.pdf", ""),
        ("x" * 255, "x" * 255),
        ("x" * 256, ""),
        ("汉" * 86, ""),
        (".hidden", ".hidden"),
        ("a/../b.pdf", "b.pdf"),
        ("\ud800.pdf", ""),
    ],
)
def test_a_file_name_is_data_and_never_a_path(name: str, safe: str) -> None:
    if safe:
        assert safe_file_name(name) == safe
        return
    with pytest.raises(FileNameInvalid):
        safe_file_name(name)


def outcome_of(body: bytes, *, length: int | None, gone: bool = False) -> object:
    """Return what came of an upload: its parts, or the class of its refusal."""
    try:
        return upload(body, length=length, gone=gone, max_file_bytes=200)
    except HttpError as error:
        return type(error)


FRAGMENTS = [
    b"\r\n", b"--bound", b"--", b"--bound\r\n", b"\r\n--bound--\r\n", b": ", b"Content-Type: text/plain\r\n",
    b'Content-Disposition: form-data; name="meta"\r\n', b"x", b"\x00", b"Content-Transfer-Encoding: base64\r\n",
]  # fmt: skip


@given(
    file=st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=20), max_size=6).map(b"".join),
    headers=st.lists(st.sampled_from(FRAGMENTS[2:]), max_size=2).map(b"".join),
    cut=st.none() | st.integers(0, 300),
    tail=st.sampled_from([END, END[:-2], END + b"after", b"", META_PART + END]),
    gone=st.booleans(),
)
def test_a_small_body_cut_at_its_boundary_is_what_the_parser_reads(
    file: bytes, headers: bytes, cut: int | None, tail: bytes, gone: bool
) -> None:
    whole = META_PART + part("file", file, extra='; filename="a.pdf"', headers=headers) + tail
    body = whole[:cut]
    assert outcome_of(body, length=len(body), gone=gone) == outcome_of(body, length=None, gone=gone)


@pytest.mark.parametrize("content", [b"", b"\r\n", b"--boun", b"\r\n--boun", b"x" * 200])
def test_a_small_body_of_the_usual_form_needs_no_parser(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = META_PART + file_part(content) + END
    expected = upload(body, max_file_bytes=200)
    monkeypatch.setattr("node.http.multipart.MultipartParser", None)
    assert upload(body, length=len(body), max_file_bytes=200) == expected


def test_a_small_body_is_bounded_as_a_large_one_is() -> None:
    for size in (200, 201):
        body = META_PART + file_part(b"x" * size) + END
        assert outcome_of(body, length=len(body)) == outcome_of(body, length=None)
    assert outcome_of(META_PART + file_part(b"x" * 201) + END, length=1000) is UploadTooLarge
