"""The gateway: strict on every answer, typed in every failure, the same on a real chain."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.chain.contracts import decode_event
from anchor.chain.errors import CallReverted
from anchor.chain.gateway import Block, Gateway, SendOutcome
from anchor.chain.stateproofs import header_of
from anchor.chain.wire import Wire
from anchor.errors import ChainAnswerMalformed, ChainUnavailable, TransactionRefused
from anchor.headers import Engine
from tests.integration.running_chain import COUNCIL, RunningChain, running_chain
from tests.integration.scripted_rpc import ScriptedRpc, scripted_rpc
from verifier.proofs.receipts import verify_receipts

HASH = "0x" + "ab" * 32
BLOCK = {
    "number": "0x1", "hash": HASH, "parentHash": HASH, "timestamp": "0x5", "gasLimit": "0x9", "transactions": [HASH],
}  # fmt: skip
LOG = {
    "address": "0x" + "11" * 20, "topics": [HASH], "data": "0x0102", "blockNumber": "0x1", "blockHash": HASH,
    "transactionHash": HASH, "logIndex": "0x0",
}  # fmt: skip
RECEIPT = {
    "transactionHash": HASH, "blockNumber": "0x1", "blockHash": HASH, "status": "0x1", "gasUsed": "0x5208",
    "contractAddress": None, "logs": [],
}  # fmt: skip


EVENT = {name: LOG[name] for name in ("address", "topics", "data")}
BLOCK_RECEIPT = {
    "transactionHash": HASH, "type": "0x0", "status": "0x1", "cumulativeGasUsed": "0x5208",
    "logsBloom": "0x" + "00" * 256, "logs": [LOG, LOG],
}  # fmt: skip
ASKED = Block(7, b"\xab" * 32, bytes(32), 5, (), 9, {})


@pytest.fixture(scope="module")
def script() -> Iterator[ScriptedRpc]:
    with scripted_rpc() as served:
        yield served


@pytest.fixture
def gateway(script: ScriptedRpc) -> Iterator[Gateway]:
    script.status = 200
    script.requests.clear()
    made = Gateway(script.url, timeout_s=0.5)
    yield made
    made.close()


# Answers that are as they should be


def test_answers_are_decoded(script: ScriptedRpc, gateway: Gateway) -> None:
    script.result(BLOCK)
    block = gateway.block(1)
    assert block is not None and (block.number, block.hash, block.time) == (1, b"\xab" * 32, 5)
    assert block.transactions == (b"\xab" * 32,) and block.header["gasLimit"] == "0x9"
    script.result([LOG])
    (log,) = gateway.logs([b"\x11" * 20], first=0, last=9)
    assert (log.address, log.body, log.topics) == (b"\x11" * 20, b"\x01\x02", (b"\xab" * 32,))
    script.result(RECEIPT)
    receipt = gateway.receipt(b"\xab" * 32)
    assert receipt is not None and receipt.succeeded and receipt.gas_used == 21_000


def test_absent_things_are_none(script: ScriptedRpc, gateway: Gateway) -> None:
    script.result(None)
    assert gateway.block(5) is None
    assert gateway.block(b"\x01" * 32) is None
    assert gateway.receipt(b"\x01" * 32) is None
    assert gateway.blocks([1, 2]) == [None, None]
    with pytest.raises(ChainAnswerMalformed):
        gateway.head()


def test_batches_are_read_in_any_order_and_cut_to_size(script: ScriptedRpc, gateway: Gateway) -> None:
    def answer(request: Any) -> bytes:
        items = [{"id": item["id"], "result": {**BLOCK, "number": item["params"][0]}} for item in request]
        return json.dumps(items[::-1]).encode()

    script.answer = answer
    found = gateway.blocks(range(250))
    assert [block.number for block in found if block] == list(range(250))
    assert [len(request) for request in script.requests] == [100, 100, 50]


# Lies


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b"1", b'"x"', b"{}", b'{"id":1}', b'{"id":2,"result":"0x1"}', b"<html>", b"\xff\xfe",
     b'{"id":1,"result":"0x1","error":{"code":1,"message":"x"}}', b'{"id":1,"error":null}', b'{"id":1,"error":{}}',
     b'{"id":1,"error":{"code":"1","message":"x"}}', b'{"id":1,"error":[]}', b'{"result":"0x1"}'],
)  # fmt: skip
def test_answer_that_is_no_json_rpc_is_malformed(script: ScriptedRpc, gateway: Gateway, body: bytes) -> None:
    script.answer = lambda request: body
    with pytest.raises(ChainAnswerMalformed):
        gateway.chain_id()
    with pytest.raises(ChainAnswerMalformed):
        gateway.send_raw(b"\x01")


@pytest.mark.parametrize(
    "value", [None, 1, "1", "0x", "0x01", "0xg", "0X1", " 0x1", "-0x1", [], {}, True, "0x" + "f" * 65]
)
def test_wrong_quantities_are_malformed(script: ScriptedRpc, gateway: Gateway, value: Any) -> None:
    script.result(value)
    with pytest.raises(ChainAnswerMalformed):
        gateway.chain_id()


@pytest.mark.parametrize(
    "value", [None, 1, "1", "0", "0xg0", "0x0", "0x 0 ", [], {}, "0x" + "00" * 31, "0x" + "00" * 33]
)
def test_wrong_words_are_malformed(script: ScriptedRpc, gateway: Gateway, value: Any) -> None:
    script.result(value)
    with pytest.raises(ChainAnswerMalformed):
        gateway.storage(b"\x11" * 20, bytes(32))


def _broken(good: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in good:
        yield f"{name} missing", {key: value for key, value in good.items() if key != name}
        wrongs: list[Any] = [7, "zz", {"a": 1}]
        if good[name] is not None and good[name] != [HASH]:
            wrongs += [None, []]
        if isinstance(good[name], str) and len(good[name]) > 12:
            wrongs.append("0x123456")
        for wrong in wrongs:
            yield f"{name} {wrong!r}", {**good, name: wrong}


@pytest.mark.parametrize(
    "wrong", [pytest.param(value, id=name) for name, value in _broken(BLOCK)] + [[], "x", 5]
)
def test_broken_block_is_malformed(script: ScriptedRpc, gateway: Gateway, wrong: Any) -> None:
    script.result(wrong)
    with pytest.raises(ChainAnswerMalformed):
        gateway.block(1)


@pytest.mark.parametrize(
    "wrong", [pytest.param(value, id=name) for name, value in _broken(LOG)] + [{**LOG, "removed": True}]
)
def test_broken_event_is_malformed(script: ScriptedRpc, gateway: Gateway, wrong: Any) -> None:
    script.result([LOG, wrong])
    with pytest.raises(ChainAnswerMalformed):
        gateway.logs([b"\x11" * 20], first=0, last=9)


# Without events a receipt is whole: not every transaction leaves any.
BROKEN_RECEIPTS = [(name, value) for name, value in _broken(RECEIPT) if name != "logs []"]


@pytest.mark.parametrize("wrong", [pytest.param(value, id=name) for name, value in BROKEN_RECEIPTS])
def test_broken_receipt_is_malformed(script: ScriptedRpc, gateway: Gateway, wrong: Any) -> None:
    script.result(wrong)
    with pytest.raises(ChainAnswerMalformed):
        gateway.receipt(b"\xab" * 32)


@pytest.mark.parametrize(
    "lie",
    [{"transactionHash": "0x" + "cd" * 32}, {"status": "0x0", "logs": [LOG]}],
    ids=["another", "failed"],
)
def test_receipt_of_another_transaction_or_of_a_failure_with_events_is_malformed(
    script: ScriptedRpc, gateway: Gateway, lie: dict[str, Any]
) -> None:
    script.result({**RECEIPT, **lie})
    with pytest.raises(ChainAnswerMalformed):
        gateway.receipt(b"\xab" * 32)


@pytest.mark.parametrize(
    "wrong",
    [pytest.param([value], id=name) for name, value in _broken(BLOCK_RECEIPT) if value.get("logs") != []]
    + [pytest.param([{**BLOCK_RECEIPT, "logs": [value]}], id=f"log {name}") for name, value in _broken(EVENT)]
    + [5, "0x", [None]],
)
def test_broken_receipts_of_a_block_are_malformed(script: ScriptedRpc, gateway: Gateway, wrong: Any) -> None:
    script.result(wrong)
    with pytest.raises(ChainAnswerMalformed):
        gateway.ask_receipts([ASKED]).result()


def _answer_some(request: Any) -> bytes:
    return json.dumps([{"id": item["id"], "result": None} for item in request[1:]]).encode()


def _answer_twice(request: Any) -> bytes:
    return json.dumps([{"id": 0, "result": None} for _ in request]).encode()


@pytest.mark.parametrize(
    "answer", [_answer_some, _answer_twice, lambda r: b"[1,2]", lambda r: b"{}", lambda r: b"[]"]
)
def test_batch_that_does_not_answer_each_is_malformed(
    script: ScriptedRpc, gateway: Gateway, answer: Callable[[Any], bytes]
) -> None:
    script.answer = answer
    with pytest.raises(ChainAnswerMalformed):
        gateway.receipts([b"\x01" * 32, b"\x02" * 32])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(HASH) | st.just("0x1"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*BLOCK, *LOG, "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=80)
@given(value=JSON)
def test_no_answer_raises_anything_else(script: ScriptedRpc, value: Any) -> None:
    gateway = Gateway(script.url)
    script.result(value)
    calls: list[Callable[[], Any]] = [
        gateway.chain_id, gateway.head, lambda: gateway.logs([], first=0, last=1), lambda: gateway.call(b"", b""),
        lambda: gateway.receipts([bytes(32)]), lambda: gateway.proof(b"", []), lambda: gateway.send_raw(b""),
        lambda: gateway.nonce(bytes(20)), lambda: gateway.code(bytes(20)),
        lambda: gateway.ask_receipts([ASKED]).result(),
    ]  # fmt: skip
    for call in calls:
        try:
            call()
        except ChainUnavailable as error:  # Of which a malformed answer is one.
            assert error.hint
    gateway.close()


def test_receipts_of_a_block_take_their_place_from_where_they_stand(
    script: ScriptedRpc, gateway: Gateway
) -> None:
    script.result([BLOCK_RECEIPT, BLOCK_RECEIPT])
    ((first, second),) = gateway.ask_receipts([ASKED]).result()
    logs = [*first.logs, *second.logs]
    assert [log.log_index for log in logs] == [0, 1, 2, 3]
    assert {(log.block_number, log.block_hash) for log in logs} == {(7, ASKED.hash)}
    assert (first.kind, first.status, first.cumulative_gas, len(first.bloom)) == (0, 1, 21_000, 256)
    assert gateway.ask_receipts([]).result() == []
    script.result(None)
    with pytest.raises(ChainUnavailable):
        gateway.ask_receipts([ASKED]).result()


def test_question_that_was_lost_under_way_is_asked_again(script: ScriptedRpc, gateway: Gateway) -> None:
    receipts = json.dumps([{"id": 0, "result": [BLOCK_RECEIPT]}]).encode()
    script.answer = lambda request: None if len(script.requests) < 3 else receipts
    assert len(gateway.ask_receipts([ASKED]).result()[0]) == 1
    assert len(script.requests) == 3
    gateway.ask_receipts([ASKED]).drop()
    assert len(gateway.ask_receipts([ASKED]).result()[0]) == 1


def test_question_that_cannot_be_sent_is_unavailable_when_the_answer_is_wanted() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    asked = Gateway(url, timeout_s=0.5).ask_receipts([ASKED])
    with pytest.raises(ChainUnavailable):
        asked.result()


# Failures


@pytest.mark.parametrize("status", [204, 301, 400, 404, 429, 500, 503])
def test_other_http_status_is_unavailable(script: ScriptedRpc, gateway: Gateway, status: int) -> None:
    script.result("0x1")
    script.status = status
    with pytest.raises(ChainUnavailable):
        gateway.chain_id()


def test_reads_are_tried_three_times_and_sends_once(script: ScriptedRpc, gateway: Gateway) -> None:
    script.answer = lambda request: None
    with pytest.raises(ChainUnavailable):
        gateway.chain_id()
    assert len(script.requests) == 3
    script.requests.clear()
    with pytest.raises(ChainUnavailable):
        gateway.send_raw(b"\x01")
    assert len(script.requests) == 1


def test_read_succeeds_when_a_retry_does(script: ScriptedRpc, gateway: Gateway) -> None:
    script.answer = lambda request: None if len(script.requests) < 3 else b'{"id":1,"result":"0x2a"}'
    assert gateway.chain_id() == 42


def test_silence_ends_at_the_time_out() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        gateway = Gateway(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.05)
        with pytest.raises(ChainUnavailable):
            gateway.send_raw(b"\x01")


def test_dripping_answer_ends_in_bounded_time() -> None:
    stop = threading.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def drip() -> None:
            peer, _ = listener.accept()
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
            while not stop.wait(0.02):
                peer.sendall(b" ")

        threading.Thread(target=drip, daemon=True).start()
        wire = Wire(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.1)
        with pytest.raises(ChainUnavailable, match="too long"):
            wire.post(b"{}", repeatable=False)
        stop.set()


def test_answer_beyond_its_bound_is_refused(script: ScriptedRpc) -> None:
    script.status = 200
    script.answer = lambda request: b" " * 5000
    wire = Wire(script.url, timeout_s=1.0, max_answer_bytes=4096)
    with pytest.raises(ChainAnswerMalformed):
        wire.post(b"{}", repeatable=True)


@pytest.mark.parametrize("url", ["", "ftp://x", "127.0.0.1:8545", "http://", "file:///etc/passwd"])
def test_address_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ChainUnavailable):
        Gateway(url)


def test_unreachable_chain_is_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ChainUnavailable):
        Gateway(f"http://127.0.0.1:{port}").chain_id()


def test_error_answer_to_a_read_is_unavailable(script: ScriptedRpc, gateway: Gateway) -> None:
    script.error(-32000, "header not found")
    with pytest.raises(ChainUnavailable) as caught:
        gateway.storage(b"\x11" * 20, bytes(32))
    assert caught.value.facts["rpc_code"] == -32000


def test_revert_carries_its_reason(script: ScriptedRpc, gateway: Gateway) -> None:
    script.error(3, "execution reverted", data="0xdeadbeef")
    with pytest.raises(CallReverted) as caught:
        gateway.call(b"\x11" * 20, b"")
    assert caught.value.reason == b"\xde\xad\xbe\xef"
    script.error(-32000, "execution reverted")
    with pytest.raises(CallReverted):
        gateway.call(b"\x11" * 20, b"")


# What clients say to a transaction: anvil, geth 1.13, Besu


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("transaction already imported", SendOutcome.KNOWN),
        ("already known", SendOutcome.KNOWN),
        ("Known transaction", SendOutcome.KNOWN),
        ("nonce too low", SendOutcome.NONCE_TOO_LOW),
        ("nonce too low: next nonce 5, tx nonce 2", SendOutcome.NONCE_TOO_LOW),
        ("Nonce too low", SendOutcome.NONCE_TOO_LOW),
        ("replacement transaction underpriced", SendOutcome.UNDERPRICED),
        ("Replacement transaction underpriced", SendOutcome.UNDERPRICED),
    ],
)
def test_refusals_that_are_no_failure(
    script: ScriptedRpc, gateway: Gateway, message: str, outcome: SendOutcome
) -> None:
    script.error(-32000, message)
    assert gateway.send_raw(b"\x01") is outcome


@pytest.mark.parametrize(
    "message", ["intrinsic gas too low", "exceeds block gas limit", "invalid sender", "oversized data"]
)
def test_refusal_for_good_is_typed(script: ScriptedRpc, gateway: Gateway, message: str) -> None:
    script.error(-32000, message)
    with pytest.raises(TransactionRefused):
        gateway.send_raw(b"\x01")


@pytest.mark.parametrize("message", ["txpool is full", "too many transactions are waiting", "limit exceeded"])
def test_refusal_for_now_is_unavailable(script: ScriptedRpc, gateway: Gateway, message: str) -> None:
    script.error(-32003, message)
    with pytest.raises(ChainUnavailable):
        gateway.send_raw(b"\x01")


# The real chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningChain]:
    with running_chain(tmp_path_factory.mktemp("gateway") / "chain") as running:
        yield running


def test_real_chain_answers_each_call(chain: RunningChain) -> None:
    gateway, ledger = chain.gateway, chain.deployment.ledger
    head = gateway.head()
    assert gateway.chain_id() == 310000
    assert gateway.block(head.hash) == head == gateway.block(head.number)
    assert gateway.blocks([0, head.number + 100])[1] is None
    assert gateway.code(ledger) and gateway.code(b"\x77" * 20) == b""
    assert gateway.storage(ledger, bytes(32)) == bytes(32)
    assert gateway.proof(ledger, [bytes(32)], block=head.number)["address"] == "0x" + ledger.hex()
    (log,) = gateway.logs([ledger], first=0, last=head.number)
    assert gateway.logs([ledger], first=0, last=0) == []
    assert decode_event("Ledger", log) == ("AuthorityUpdated", {"authority": chain.deployment.authority})
    block = gateway.block(log.block_hash)
    assert block is not None
    (receipts,) = gateway.ask_receipts([block]).result()
    verify_receipts(receipts, header_of(block, Engine.EMBEDDED).receipts_root)
    assert log in [one for receipt in receipts for one in receipt.logs]
    mined = gateway.nonce(COUNCIL.address)
    assert (
        mined
        == gateway.nonce(COUNCIL.address, pending=True)
        == gateway.nonce(COUNCIL.address, block=head.number)
    )
    assert gateway.nonce(COUNCIL.address, block=0) == 0
    assert gateway.receipt(b"\x01" * 32) is None
    with pytest.raises(ChainUnavailable):
        gateway.ask_receipts([ASKED]).result()


def test_many_threads_share_one_gateway(chain: RunningChain) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.extend(chain.gateway.chain_id() for _ in range(20)))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [310000] * 320


def test_stopped_chain_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    with running_chain(tmp_path / "chain") as chain:
        height = chain.gateway.head().number
        chain.server.stop()
        with pytest.raises(ChainUnavailable):
            chain.gateway.head()
        chain.restart()
        assert chain.gateway.head().number >= height
