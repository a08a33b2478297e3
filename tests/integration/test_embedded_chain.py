"""The embedded chain on the real anvil: identical hashes after every kind of end, and nothing that rewrites it."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anchor.chain.embedded import EmbeddedChain
from anchor.chain.engine import find_anvil
from anchor.chain.errors import ChainFolderExists, ChainFolderLocked, ChainFolderMissing
from anchor.chain.journal import JOURNAL_NAME, Journal, JournalEntry
from anchor.errors import ChainMismatch, EngineFailed, EngineMissing, JournalCorrupt
from anchor.signer import Signer
from node.chainserver import main, run_chain, start_chain_process

KEYS = [Signer.from_key(bytes([number]) * 32) for number in (1, 2, 3)]
# Runtime code that logs what could differ on replay: time, difficulty, miner, gas limit, parent hash, chain id.
PROBE = bytes.fromhex("4260005244602052416040526001430340606052456080524660a05260c06000a000")
CREATE_PROBE = bytes([0x60, len(PROBE), 0x80, 0x60, 0x0B, 0x60, 0, 0x39, 0x60, 0, 0xF3]) + PROBE


def ask(chain: EmbeddedChain, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = json.loads(chain.handle(json.dumps(body).encode()))
    return answer["result"] if "result" in answer else answer["error"]


def send(chain: EmbeddedChain, signer: Signer, nonce: int, **changes: Any) -> Any:
    fields = {"chain_id": 310000, "to": b"\x55" * 20, "calldata": b"", "gas": 60_000, **changes}
    return ask(
        chain, "eth_sendRawTransaction", "0x" + signer.sign_transaction(nonce=nonce, **fields).raw.hex()
    )


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.01)


def hashes(chain: EmbeddedChain) -> list[str]:
    count = int(ask(chain, "eth_blockNumber"), 16) + 1
    return [ask(chain, "eth_getBlockByNumber", hex(number), False)["hash"] for number in range(count)]


def nonce_of(chain: EmbeddedChain, signer: Signer) -> int:
    return int(ask(chain, "eth_getTransactionCount", "0x" + signer.address.hex(), "latest"), 16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    EmbeddedChain.create(tmp_path / "chain", genesis_time=1_700_000_000)
    return tmp_path / "chain"


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., EmbeddedChain]]:
    started: list[EmbeddedChain] = []

    def begin(**settings: Any) -> EmbeddedChain:
        chain = EmbeddedChain(folder, **{"block_interval_s": 0.01, **settings})
        chain.start()
        started.append(chain)
        return chain

    yield begin
    for chain in started:
        chain.stop()


Start = Callable[..., EmbeddedChain]


# Replay


def test_replay_gives_the_same_hashes_whatever_was_asked_between(start: Start) -> None:
    chain = start()
    probe = send(chain, KEYS[0], 0, to=None, calldata=CREATE_PROBE, gas=200_000)
    until(lambda: nonce_of(chain, KEYS[0]) == 1)
    address = ask(chain, "eth_getTransactionReceipt", probe)["contractAddress"]
    order = [(signer, nonce) for signer in KEYS for nonce in range(signer is KEYS[0], 12)]
    random.Random(4).shuffle(order)  # Nonce gaps: some wait over several blocks.
    for signer, nonce in order:
        send(chain, signer, nonce, to=bytes.fromhex(address[2:]), gas=9_000_000)  # Six fill a block.
        ask(chain, "eth_call", {"to": address, "data": "0x"}, "latest")
        ask(chain, "eth_estimateGas", {"to": address, "data": "0x"})
        ask(chain, "eth_getBlockByNumber", "pending", False)
    until(lambda: all(nonce_of(chain, signer) == 12 for signer in KEYS))
    before, logs = hashes(chain), ask(chain, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"})
    chain.stop()
    again = start()
    assert hashes(again) == before and len(before) > 5
    assert ask(again, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"}) == logs


def test_progress_of_the_replay_is_told(start: Start) -> None:
    chain = start()
    for nonce in range(3):
        send(chain, KEYS[0], nonce)
        until(lambda nonce=nonce: nonce_of(chain, KEYS[0]) == nonce + 1)
    height = chain.health().height
    chain.stop()
    told: list[tuple[int, int]] = []
    start(on_progress=lambda done, total: told.append((done, total)))
    assert told == [(number, height) for number in range(1, height + 1)]


def test_stop_mines_what_was_accepted(start: Start) -> None:
    chain = start(block_interval_s=0.2)
    for nonce in range(5):
        assert isinstance(send(chain, KEYS[0], nonce), str)
    chain.stop()
    assert nonce_of(start(), KEYS[0]) == 5


def test_killed_engine_comes_back_from_the_journal_by_itself(start: Start) -> None:
    chain = start(idle_s=3600.0)
    for nonce in range(4):
        send(chain, KEYS[0], nonce)
    until(lambda: nonce_of(chain, KEYS[0]) == 4)
    before = hashes(chain)
    pid = chain.health().engine_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineFailed):
        for _ in range(1000):
            ask(chain, "eth_blockNumber")
            time.sleep(0.001)
    until(lambda: chain.health().state == "running" and chain.health().engine_pid not in (None, pid))
    until(lambda: chain.health().problem is None)
    assert hashes(chain)[: len(before)] == before
    send(chain, KEYS[0], 4)
    until(lambda: nonce_of(chain, KEYS[0]) == 5)


def test_engine_changed_behind_our_back_is_put_right(start: Start) -> None:
    chain = start()
    send(chain, KEYS[0], 0)
    until(lambda: nonce_of(chain, KEYS[0]) == 1)
    before = hashes(chain)
    assert chain._engine is not None
    chain._engine.call("evm_mine")  # Somebody on this machine speaks to anvil's own port.
    send(chain, KEYS[0], 1)
    until(lambda: chain.health().problem == "engine_failed" or chain.health().height > len(before) - 1)
    until(lambda: chain.health().state == "running" and chain.health().problem is None)
    assert hashes(chain)[: len(before)] == before
    until(lambda: nonce_of(chain, KEYS[0]) == 2)
    after = hashes(chain)
    chain.stop()
    assert hashes(start()) == after


def test_journal_of_another_run_is_refused(start: Start, folder: Path) -> None:
    start().stop()
    journal = Journal.open(folder)
    journal.append(JournalEntry(1, 1_700_000_100, b"\x09" * 32, ()))
    journal.close()
    chain = EmbeddedChain(folder)
    with pytest.raises(JournalCorrupt):
        chain.start()
    chain.stop()
    assert chain.health().problem == "journal_corrupt"


# Time


def test_block_times_never_step_back_with_the_clock(start: Start) -> None:
    now = [1_800_000_000.0]
    chain = start(clock=lambda: now[0])
    for nonce, moved in enumerate((0, 86_400, -86_400, 0.4)):
        now[0] += moved
        send(chain, KEYS[0], nonce)
        until(lambda nonce=nonce: nonce_of(chain, KEYS[0]) == nonce + 1)
    count = int(ask(chain, "eth_blockNumber"), 16)
    times = [
        int(ask(chain, "eth_getBlockByNumber", hex(n), False)["timestamp"], 16) for n in range(1, count + 1)
    ]
    assert times == sorted(times)
    assert times[-1] == 1_800_086_400


def test_idle_chain_mines_empty_blocks(start: Start) -> None:
    chain = start(idle_s=0.05)
    until(lambda: chain.health().height >= 3)
    assert ask(chain, "eth_getBlockByNumber", "0x2", False)["transactions"] == []


def test_two_chains_of_one_second_differ(tmp_path: Path) -> None:
    limits = set()
    for number in range(20):
        EmbeddedChain.create(tmp_path / str(number), genesis_time=1_700_000_000)
        limits.add(Journal.open(tmp_path / str(number)).header.gas_limit)
    assert len(limits) > 15


# The gate


@pytest.mark.parametrize(
    "method",
    [
        "evm_mine", "anvil_mine", "evm_setNextBlockTimestamp", "anvil_setStorageAt", "hardhat_setBalance",
        "anvil_impersonateAccount", "eth_sendTransaction", "anvil_dropTransaction", "evm_snapshot", "evm_revert",
        "anvil_reset", "anvil_setCode", "anvil_reorg", "debug_traceTransaction", "eth_newFilter", "nothing_such",
        "eth_sendUnsignedTransaction", "anvil_loadState", "evm_increaseTime", "txpool_status", "eth_sign",
    ],
)  # fmt: skip
def test_methods_that_rewrite_or_are_unknown_are_refused(shared: EmbeddedChain, method: str) -> None:
    assert ask(shared, method)["code"] == -32601


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedChain]:
    folder = tmp_path_factory.mktemp("shared") / "chain"
    EmbeddedChain.create(folder)
    chain = EmbeddedChain(folder)
    chain.start()
    yield chain
    chain.stop()


def test_transaction_for_another_chain_is_refused(shared: EmbeddedChain) -> None:
    """Anvil itself takes it: another client would not, and a transaction could be replayed from another chain."""
    assert "another chain id" in send(shared, KEYS[2], 0, chain_id=1)["message"]
    assert nonce_of(shared, KEYS[2]) == 0


def test_oversize_transaction_is_refused(shared: EmbeddedChain) -> None:
    assert "128 KiB" in send(shared, KEYS[2], 0, calldata=bytes(200_000), gas=50_000_000)["message"]


@pytest.mark.parametrize(
    "params", [[], ["0x"], ["0x1234"], ["zz"], [1], [None], ["0x00", "0x00"], "0x00", {"a": 1}, [{}], None]
)
def test_malformed_send_is_an_error_answer(shared: EmbeddedChain, params: Any) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "eth_sendRawTransaction", "params": params})
    answer = json.loads(shared.handle(body.encode()))
    assert answer["id"] == 7 and answer["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("body", "code"),
    [(body, -32700) for body in (b"", b"{", b"\xff")]
    + [(body, -32600) for body in (b"[]", b"1", b"null", b"{}", b'{"method":5}')],
)
def test_malformed_request_is_an_error_answer(shared: EmbeddedChain, body: bytes, code: int) -> None:
    assert json.loads(shared.handle(body))["error"]["code"] == code


def test_batch_keeps_the_order_of_sends_and_answers_all(shared: EmbeddedChain) -> None:
    raws = [
        KEYS[1].sign_transaction(chain_id=310000, nonce=n, to=b"\x55" * 20, calldata=b"", gas=21_000)
        for n in range(20)
    ]
    calls = [("eth_sendRawTransaction", ["0x" + item.raw.hex()]) for item in raws]
    calls[5:5] = [("eth_chainId", []), ("evm_mine", [])]
    body = [
        {"jsonrpc": "2.0", "id": n, "method": name, "params": params}
        for n, (name, params) in enumerate(calls)
    ]
    answers = json.loads(shared.handle(json.dumps([*body, 3]).encode()))
    assert [answer["id"] for answer in answers] == [*range(22), None]
    assert answers[5]["result"] == hex(310000) and answers[6]["error"]["code"] == -32601
    assert answers[0]["result"] == "0x" + raws[0].hash.hex()
    until(lambda: nonce_of(shared, KEYS[1]) == 20)


def test_known_low_and_contested_nonces_have_their_answers(shared: EmbeddedChain) -> None:
    signer = Signer.generate()
    send(shared, signer, 1)
    assert "already imported" in send(shared, signer, 1)["message"]
    assert "underpriced" in send(shared, signer, 1, gas=70_000)["message"]
    send(shared, signer, 0)
    until(lambda: nonce_of(shared, signer) == 2)
    assert "nonce too low" in send(shared, signer, 0)["message"]


def test_journal_that_cannot_be_written_holds_blocks_back(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anchor.chain.errors import JournalUnwritable

    chain = start()
    journal = chain._open_journal()
    original, broken = journal.append, [True]

    def append(entry: JournalEntry) -> None:
        if broken[0]:
            raise JournalUnwritable("disk full")
        original(entry)

    monkeypatch.setattr(journal, "append", append)
    send(chain, KEYS[0], 0)
    until(lambda: chain.health().problem == "journal_unwritable")
    assert nonce_of(chain, KEYS[0]) == 0  # Nothing is mined that is not in the journal.
    broken[0] = False
    until(lambda: nonce_of(chain, KEYS[0]) == 1)
    assert chain.health().problem is None or until(lambda: chain.health().problem is None) is None


# Folders and programs


def test_only_create_makes_a_chain(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path / "none")
    with pytest.raises(ChainFolderMissing):
        chain.start()
    assert not (tmp_path / "none").exists()


def test_chain_is_never_created_over_another(folder: Path) -> None:
    with pytest.raises(ChainFolderExists):
        EmbeddedChain.create(folder)


def test_second_supervisor_is_refused(start: Start, folder: Path) -> None:
    start()
    with pytest.raises(ChainFolderLocked):
        EmbeddedChain(folder).start()


def test_folder_of_another_chain_id_is_refused(folder: Path) -> None:
    with pytest.raises(ChainMismatch):
        EmbeddedChain(folder, chain_id=5).start()


def test_missing_engine_is_named(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineMissing):
        find_anvil(tmp_path / "no-anvil")
    monkeypatch.setenv("DELTASEAL_ANVIL", str(tmp_path / "no-anvil"))
    with pytest.raises(EngineMissing):
        EmbeddedChain(folder).start()
    monkeypatch.setenv("DELTASEAL_ANVIL", "/bin/true")
    with pytest.raises(EngineFailed):
        EmbeddedChain(folder).start()


# The process


def test_kill_at_random_points_keeps_every_block_that_was_seen(tmp_path: Path) -> None:
    from anchor.chain.gateway import Gateway

    folder = tmp_path / "chain"
    server = start_chain_process(folder, create=True)
    port, rng, nonce = int(server.rpc.rsplit(":", 1)[1]), random.Random(11), 0
    gateway = Gateway(server.rpc)
    seen: dict[int, bytes] = {}
    for _ in range(5):
        stop_at = time.monotonic() + rng.uniform(0.05, 0.4)
        while time.monotonic() < stop_at:
            signed = KEYS[0].sign_transaction(
                chain_id=310000, nonce=nonce, to=b"\x55" * 20, calldata=os.urandom(40), gas=60_000
            )
            gateway.send_raw(signed.raw)
            nonce += 1
            head = gateway.head()
            seen[head.number] = head.hash
        server.process.kill()
        server.process.wait()
        server = start_chain_process(folder, port=port)
        for number, block_hash in seen.items():
            block = gateway.block(number)
            assert block is not None and block.hash == block_hash
        nonce = gateway.nonce(KEYS[0].address)
    assert server.stop() == 0
    assert len(seen) > 5


def test_killed_supervisor_takes_its_engine_with_it(tmp_path: Path) -> None:
    server = start_chain_process(tmp_path / "chain", create=True)
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    engines = [int(pid) for path in children for pid in path.read_text().split()]
    assert engines
    server.process.kill()
    server.process.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in engines))


def test_process_prints_one_ready_line_and_ends_with_its_signal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[dict[str, Any]] = []

    def ready(line: dict[str, Any]) -> None:
        lines.append(line)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()

    run_chain(tmp_path / "chain", create=True, chain_id=4242, on_ready=ready)
    assert [sorted(line) for line in lines] == [["chainId", "event", "genesis", "pid", "rpc"]]
    assert lines[0]["chainId"] == 4242 and lines[0]["event"] == "ready"
    assert main(["--folder", str(tmp_path / "none")]) == 8
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and "chain_folder_missing" in printed.err


def test_failed_start_of_the_process_says_why(tmp_path: Path) -> None:
    with pytest.raises(ChainFolderMissing):
        start_chain_process(tmp_path / "chain")
    server = start_chain_process(tmp_path / "chain", create=True)
    with pytest.raises(EngineFailed, match="another process runs the chain"):
        start_chain_process(tmp_path / "chain")
    server.stop()
    path = tmp_path / "chain" / JOURNAL_NAME
    path.write_bytes(b"\x00" + path.read_bytes()[1:])
    with pytest.raises(EngineFailed, match="journal is damaged"):
        start_chain_process(tmp_path / "chain")
