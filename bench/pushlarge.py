"""How fast is one large file taken in, from the CLI's client to 201? Beside: hash, seal and synced puts alone."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import plyvel
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.figures import Figure, alternate, compare
from bench.runner import run
from bench.stage import PERSON, Bench, Stage
from cli.arguments import digest_of
from node.config import CONFIG_NAME

ROUNDS = 3
MIB = 1 << 20
BATCH_CHUNKS = 4


def write_file(path: Path, size_mib: int) -> None:
    """Write a file that no other is equal to: one random MiB, repeated under a running number."""
    noise = os.urandom(MIB - 8)
    with path.open("wb") as target:
        for number in range(size_mib):
            target.write(number.to_bytes(8, "big") + noise)


def store_alone(source: Path, folder: Path) -> float:
    """Return the seconds to hash, seal and store a file in one process: two threads, puts synced each 4 MiB."""
    cipher, digest = AESGCM(secrets.token_bytes(32)), hashlib.sha256()
    started = time.perf_counter()
    database = plyvel.DB(str(folder), create_if_missing=True, compression=None)
    with source.open("rb", buffering=0) as file, ThreadPoolExecutor(1) as hasher:
        number, waiting = 0, hasher.submit(_digest, digest, [])
        while pieces := [piece for _ in range(BATCH_CHUNKS) if (piece := file.read(MIB))]:
            waiting.result()
            waiting = hasher.submit(_digest, digest, pieces)
            with database.write_batch(sync=True) as batch:
                for piece in pieces:
                    batch.put(b"%016x" % number, cipher.encrypt(number.to_bytes(12, "big"), piece, None))
                    number += 1
        waiting.result()
    seconds = time.perf_counter() - started
    database.close()
    shutil.rmtree(folder)
    return seconds


def _digest(digest: Any, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        digest.update(piece)


def push_once(stage: Stage, path: Path) -> float:
    """Push as the CLI does, its digest of the file included; return the seconds to 201."""
    client = stage.node.clients["PD"]
    started = time.perf_counter()
    meta = {
        "typeCode": "M1001",
        "subjects": [{**PERSON.as_subject(), "role": "holder"}],
        "caseNo": "BENCH-000002",
        "title": "bench",
        "sha256": digest_of(path).sha256.hex(),
    }
    answer = client.upload(meta, path)
    assert answer.status == 201
    return time.perf_counter() - started


def measure(bench: Bench) -> list[Figure]:
    """Push files of one size, then again to a node that makes an SM3 digest of each too; MiB a second."""
    size, stage, path = bench.large_mib, bench.stage, bench.folder / "large"

    def product(_number: int) -> float:
        write_file(path, size)
        return size / push_once(stage, path)

    def peer(_number: int) -> float:
        write_file(path, size)
        return size / store_alone(path, bench.folder / "floor")

    pairs = alternate(ROUNDS, product, peer)
    with_sm3(stage, on=True)
    beside = alternate(ROUNDS, product, peer)
    with_sm3(stage, on=False)
    path.unlink()
    floor = "SHA-256 + AES-GCM + synced LevelDB"
    # The floor bends with the machine: what SM3 costs is the ratio of the two ratios.
    plain = compare("push one file", f"{size} MiB", pairs, unit="MiB/s", floor=floor, goal=0.6)
    sm3 = compare("push one file, SM3 too", f"{size} MiB", beside, unit="MiB/s", floor=floor, goal=None)
    return [plain, replace(sm3, goal=round(0.8 * plain.ratio, 3))]


def with_sm3(stage: Stage, *, on: bool) -> None:
    """Start the node again, with a digest by SM3 of files of any size or of small ones only."""
    stage.node.part.stop()
    settings = stage.node.folder / CONFIG_NAME
    kept = [line for line in settings.read_text().splitlines() if not line.startswith("sm3_max_bytes")]
    settings.write_text("\n".join([*kept, *(["sm3_max_bytes = 1099511627776"] if on else [])]) + "\n")
    stage.node.restart()


if __name__ == "__main__":
    run(measure)
