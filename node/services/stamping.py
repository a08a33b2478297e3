"""Have the roots of this member's final batches stamped by a time-stamping authority (RFC 3161), if one is set.

Receipts carry what is there; nothing ever waits for it. An authority that is down is asked again.
Spec page: docs/reference/time-stamp.md.
"""

from __future__ import annotations

import httpx
from rfc3161_client import TimestampRequestBuilder
from rfc3161_client.base import HashAlgorithm

from node.context import Node
from node.errors import TsaUnavailable
from node.store import rows
from verifier.timestamps import MAX_TOKEN_BYTES, token_of_response, verify_timestamp

_MARK = "timestamp_next"
_BATCHES_A_STEP = 64


def stamp_once(node: Node) -> bool:
    """Stamp the next final batches of this member; return whether more wait.

    Raises:
        TsaUnavailable, TimestampInvalid: the authority does not answer, or not with a stamp of the root; the next
            step asks again.
    """
    final = node.index.final_point()
    if not node.config.tsa_url or final is None or not node.chain.member_id:
        return False
    kept = rows.SETTING.get(node.store, _MARK)
    batch_id = int(kept.value) if kept else 0
    for _ in range(_BATCHES_A_STEP):
        head = node.index.batch_head(batch_id)
        if head is None or head.block_number > final.number:
            return False
        batch_id += 1
        ops = [rows.SETTING.put(rows.SettingRow(_MARK, str(batch_id).encode()))]
        if head.entry.member_id == node.chain.member_id:
            token = request_token(node.config.tsa_url, head.entry.root, timeout_s=node.config.peer_timeout_s)
            ops.append(rows.TIMESTAMP.put(rows.TimestampRow(head.entry.id, token, node.clock())))
        # What a power cut takes is asked for again.
        node.store.write(ops, sync=False)
    return True


def request_token(url: str, root: bytes, *, timeout_s: float) -> bytes:
    """Return the authority's token over a batch root; its form and imprint are checked, its signer is the reader's.

    Raises:
        TsaUnavailable: no answer. TimestampInvalid: the answer is no stamp of this root.
    """
    request = TimestampRequestBuilder(data=root, hash_algorithm=HashAlgorithm.SHA256).build()
    headers = {"content-type": "application/timestamp-query"}
    try:
        with (
            httpx.Client(timeout=timeout_s, trust_env=False) as client,
            client.stream("POST", url, content=request.as_bytes(), headers=headers) as response,
        ):
            answer = _receive(response)
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        raise TsaUnavailable("the time-stamping authority does not answer", hint="check tsa_url") from None
    token = token_of_response(answer)
    verify_timestamp(token, root, ())
    return token


def _receive(response: httpx.Response) -> bytes:
    """Read an answer, no more of it than a token can be long."""
    body = b""
    if response.status_code == 200:
        for chunk in response.iter_raw(4096):
            body += chunk
            if len(body) > 2 * MAX_TOKEN_BYTES:
                break
    if not 0 < len(body) <= 2 * MAX_TOKEN_BYTES:
        raise TsaUnavailable("the time-stamping authority refuses", hint="check tsa_url")
    return body
