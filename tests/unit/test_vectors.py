"""The golden files of the wire formats: they are what the script writes, the code agrees, and so does a
second implementation that shares nothing with it."""

import base64
import hashlib
import hmac
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.unit import naive_formats as naive
from tests.vectors import make

VECTORS = Path(make.__file__).parent
Case = dict[str, Any]


def cases(kind: str, *operations: str) -> list[Any]:
    """Return the stored cases of a kind, all of them or those of some operations."""
    found = []
    for path in sorted(VECTORS.glob(f"*/{kind}.json")):
        if path.parent.name not in make.SOURCES:
            continue
        for case in json.loads(path.read_text("utf-8"))["cases"]:
            if not operations or case["operation"] in operations:
                found.append(pytest.param(case, id=f"{case['operation']}-{case['name']}"))
    return found


def test_golden_files_are_what_the_script_writes() -> None:
    for name, text in make.documents():
        assert (VECTORS / name).read_text("utf-8") == text, f"{name}: run `make vectors`, review the diff"


@pytest.mark.parametrize("name", make.SOURCES)
def test_each_format_has_more_rejects_than_accepts(name: str) -> None:
    accept, reject = (
        json.loads((VECTORS / name / f"{kind}.json").read_text()) for kind in ("accept", "reject")
    )
    assert len(reject["cases"]) > len(accept["cases"]) > 0


@pytest.mark.parametrize("case", cases("accept"))
def test_code_gives_what_a_vector_expects(case: Case) -> None:
    assert make.run(case["operation"], case["input"]) == {"expected": case["expected"]}


@pytest.mark.parametrize("case", cases("reject"))
def test_code_refuses_what_a_vector_rejects(case: Case) -> None:
    assert make.run(case["operation"], case["input"]) == {"error": case["error"]}


@pytest.mark.parametrize("case", cases("accept", "record.encode"))
def test_records_equal_the_naive_encoding(case: Case) -> None:
    asked = case["input"]
    record, identity = naive.record(asked["fields"], asked["memberId"], bytes.fromhex(asked["secret"]))
    assert case["expected"] == {"record": record.hex(), "recordId": identity.hex()}


@pytest.mark.parametrize("case", cases("accept", "record.encode"))
def test_decoding_gives_the_encoded_fields_back(case: Case) -> None:
    fields = case["input"]["fields"]
    asked = {"record": case["expected"]["record"], "secret": case["input"]["secret"]}
    asked |= {"domain": fields["domain"], "epoch": fields["epoch"]}
    assert make.run("record.decode", asked) == {"expected": fields}


@pytest.mark.parametrize("case", cases("accept", "commitment.commit"))
def test_commitments_equal_the_naive_root(case: Case) -> None:
    asked = case["input"]
    expected = naive.commitment(asked["fields"], bytes.fromhex(asked["saltKey"]))
    assert case["expected"]["commitment"] == expected.hex()
    shown = {each["name"]: each["value"] for each in case["expected"]["opening"]["opened"]}
    assert shown == {name: asked["fields"][name] for name in asked["open"]}


@pytest.mark.parametrize("case", cases("accept", "tags.tag", "tags.mask", "tags.nullifier"))
def test_tags_equal_the_naive_hmac(case: Case) -> None:
    asked = case["input"]
    secret, domain = bytes.fromhex(asked["secret"]), asked["domain"]
    if case["operation"] == "tags.nullifier":
        key = naive.hkdf(secret, b"consume" + struct.pack(">H", domain))
        message = b"nullifier\x00" + naive.jcs(asked["values"])
        expected = hmac.new(key, message, hashlib.sha256).digest()
    elif case["operation"] == "tags.mask":
        key = naive.domain_key(b"mask", domain, asked["epoch"], secret)
        committed, body = bytes.fromhex(asked["commitment"]), bytes.fromhex(asked["body"])
        expected = naive.mask(key, committed, domain, asked["epoch"], asked["line"], body)
    else:
        values = asked["values"] if len(asked["values"]) > 1 else asked["values"][0]
        key = naive.domain_key(b"tag", domain, asked["epoch"], secret)
        expected = naive.tag(key, asked["kind"].encode(), values)
    assert case["expected"] == expected.hex()


@pytest.mark.parametrize("case", cases("accept", "merkle.root", "merkle.frontier", "merkle.inclusion_path"))
def test_trees_equal_the_recursive_definition(case: Case) -> None:
    leaves = [naive.sha256(b"\x00", bytes.fromhex(each)) for each in case["input"]["leaves"]]
    if case["operation"] == "merkle.inclusion_path":
        assert case["expected"] == [each.hex() for each in naive.audit_path(case["input"]["index"], leaves)]
    else:
        root = case["expected"] if case["operation"] == "merkle.root" else case["expected"]["root"]
        assert root == naive.tree_head(leaves).hex()


@pytest.mark.parametrize("case", cases("accept", "entry.encode"))
def test_entries_equal_the_naive_packing(case: Case) -> None:
    encoded, digest = naive.entry(case["input"])
    assert case["expected"] == {"encoded": encoded.hex(), "batchHash": digest.hex()}


@pytest.mark.parametrize(
    "case", cases("accept", "entry.encode_status", "entry.claim_key", "entry.document_key")
)
def test_slots_equal_the_naive_packing(case: Case) -> None:
    asked = case["input"]
    if case["operation"] == "entry.claim_key":
        expected = naive.sha256(struct.pack(">I", asked["memberId"]), bytes.fromhex(asked["commitment"]))
    elif case["operation"] == "entry.document_key":
        place = struct.pack(">IHH", asked["memberId"], asked["domain"], asked["epoch"])
        expected = naive.sha256(place, bytes.fromhex(asked["docTag"]))
    else:
        since = struct.pack(">Q", asked["since"])[3:]
        successor = bytes.fromhex(asked["successor"]).ljust(24, b"\0")
        expected = bytes([asked["flags"]]) + since + struct.pack(">H", asked["reason"]) + successor
    assert case["expected"] == expected.hex()


@pytest.mark.parametrize("case", cases("accept", "envelope.open"))
def test_envelopes_open_by_the_steps_of_the_hpke_rfc(case: Case) -> None:
    asked = {name: bytes.fromhex(value) for name, value in case["input"].items()}
    enc, message = asked["sealed"][:1120], asked["sealed"][1120:]
    shared = xwing_shared_secret(asked["seed"], enc)
    assert rfc9180_open(shared, asked["info"], message).hex() == case["expected"]


def xwing_shared_secret(seed: bytes, enc: bytes) -> bytes:
    """draft-connolly-cfrg-xwing-kem-08 §5.3 and §5.5."""
    expanded = hashlib.shake_256(seed).digest(96)
    curve = X25519PrivateKey.from_private_bytes(expanded[64:])
    from_lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).decapsulate(enc[:1088])
    from_curve = curve.exchange(X25519PublicKey.from_public_bytes(enc[1088:]))
    public = curve.public_key().public_bytes_raw()
    return hashlib.sha3_256(from_lattice + from_curve + enc[1088:] + public + rb"\.//^\ "[:6]).digest()


def rfc9180_open(shared: bytes, info: bytes, sealed: bytes) -> bytes:
    """RFC 9180 §5.1 (KeySchedule, base mode) and §5.2 (Open, sequence 0), HKDF-SHA-256 and AES-256-GCM."""
    suite = b"HPKE" + struct.pack(">HHH", 0x647A, 0x0001, 0x0002)

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.new(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256).digest()

    def expand(prk: bytes, label: bytes, context: bytes, length: int) -> bytes:
        labelled = struct.pack(">H", length) + b"HPKE-v1" + suite + label + context
        return hmac.new(prk, labelled + b"\x01", hashlib.sha256).digest()[:length]

    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared, b"secret", b"")
    key, nonce = expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, sealed, b"")


# Written by hand from docs/reference/receipt.md, so that the code does not judge itself.
FINDINGS = {
    "sealed and not revoked as of its block": "valid",
    "QBFT, by its own commit seals": "valid",
    "an operator's chain, offline": "unproven finality no_signers",
    "an operator's chain whose block is known": "valid",
    "an operator's chain that has another block": "proof_invalid headers other_block",
    "another chain": "proof_invalid chain other_chain",
    "another Ledger": "proof_invalid chain other_chain",
    "another engine": "proof_invalid chain other_engine",
    "another value opened": "proof_invalid opening other_commitment",
    "another member": "proof_invalid inclusion not_included",
    "another place in the batch": "proof_invalid inclusion not_included",
    "short path": "proof_invalid inclusion not_included",
    "another root": "proof_invalid inclusion not_included",
    "a header left out": "proof_invalid headers headers_unlinked",
    "headers in another order": "proof_invalid headers headers_unlinked",
    "a seal too few": "proof_invalid finality quorum_missing",
    "one signer twice": "proof_invalid finality quorum_missing",
    "seals of a stranger between": "valid",
    "an attacker's signers": "proof_invalid finality quorum_missing",
    "other signers are trusted": "proof_invalid finality quorum_missing",
    "from before the anchor": "unproven finality before_anchor",
    "a signer that has left seals above": "proof_invalid finality quorum_missing",
    "proof nodes of another block": "proof_invalid state account_not_proved",
    "a node left out": "proof_invalid status_slots slot_not_proved",
    "a node too many": "proof_invalid status_slots slot_not_proved",
    "another time": "proof_invalid batch_slot other_entry",
    "another batch": "proof_invalid batch_slot slot_not_proved",
    "claim REVOKED": "revoked status revoked",
    "claim SUPERSEDED": "superseded status superseded",
    "claim ERASED": "erased status erased",
    "claim SUSPENDED": "suspended status suspended",
    "the document was revoked": "revoked status document_revoked",
    "overridden suspension": "valid",
    "a revocation that is not shown": "proof_invalid status_slots other_status",
    "a revocation that the state does not hold": "proof_invalid status_slots other_status",
    "a document that is not shown": "proof_invalid status_slots slot_not_proved",
    "the slot of a revoked document left out": "proof_invalid status_slots other_documents",
    "the slot of a revoked document changed for another": "proof_invalid status_slots other_documents",
    "the names of the slots are hidden": "unproven status_slots documents_hidden",
    "one slot more than was sealed": "valid",
    "no slot was sealed": "valid",
    "sealed slots that are no list": "proof_invalid status_slots documents_malformed",
    "a sealed slot of five parts": "proof_invalid status_slots documents_malformed",
    "a sealed slot with a tag too short": "proof_invalid status_slots documents_malformed",
    "a sealed slot of a domain too large": "proof_invalid status_slots documents_malformed",
    "65 sealed slots": "proof_invalid status_slots documents_malformed",
    "revoked since": "revoked status revoked",
    "read before the receipt was made": "unproven status read_too_early",
    "another document was read": "unproven status other_slots_read",
    "as old as allowed": "valid",
    "older than allowed": "stale freshness stale",
    "the day before expiry": "valid",
    "the day of expiry": "expired validity expired",
    "the day of expiry in Shanghai, not in London": "expired validity expired",
    "before it was issued": "not_yet_issued validity not_yet_issued",
    "a time without a zone": "unproven validity time_unusable",
    "expiry is hidden": "unproven validity expires_on_hidden",
    "no expiry": "valid",
    "a date that is none": "proof_invalid validity date_malformed",
    "a batch of one": "valid",
    "a time stamp": "valid",
    "a time stamp of an unknown authority": "valid timestamp tsa_unknown",
    "a time stamp over another root": "valid timestamp timestamp_invalid",
    "a time stamp that is none": "valid timestamp timestamp_invalid",
    "a time stamp that is as long as may be": "valid timestamp timestamp_invalid",
    "a time stamp of a claim REVOKED": "revoked status revoked",
    "a time stamp of an operator's chain": "unproven finality no_signers",
    "QBFT, one validator's seal twice": "proof_invalid finality quorum_missing",
    "QBFT, the seals of a sibling": "proof_invalid finality quorum_missing",
    "QBFT, a child without seals": "valid",
    "QBFT, extra data nested 40 deep": "proof_invalid headers headers_unlinked",
    "QBFT, seals that are one string": "proof_invalid headers headers_unlinked",
    "seals on a sibling of the block": "proof_invalid headers headers_unlinked",
    "no room for a seal": "proof_invalid finality quorum_missing",
    "a seal that fits no key": "proof_invalid finality quorum_missing",
    "the account of another contract": "proof_invalid state account_not_proved",
    "the slot of another batch": "proof_invalid batch_slot slot_not_proved",
    "a node nested 40 deep": "proof_invalid state account_not_proved",
    "100 nodes that prove nothing": "proof_invalid status_slots slot_not_proved",
    "the opening of another material": "proof_invalid opening other_commitment",
}


@pytest.mark.parametrize("case", cases("accept", "receipt.check"))
def test_receipt_findings_are_those_of_the_page(case: Case) -> None:
    found = case["expected"]
    not_passed = [reason for reason in found["reasons"] if reason[1] not in ("pass", "skipped")]
    words = [found["verdict"], *(not_passed[0][::2] if not_passed else [])]
    assert " ".join(words) == FINDINGS[case["name"]]


@pytest.mark.parametrize("case", cases("accept", "receipt.check"))
def test_receipts_that_pass_hold_by_the_naive_rules(case: Case) -> None:
    receipt, found = case["input"]["receipt"], case["expected"]
    if ["inclusion", "pass", "included"] not in found["reasons"]:
        return
    record = unpadded(receipt["record"])
    node = naive.sha256(b"\x00", struct.pack(">I", receipt["memberId"]), record)
    index, last = receipt["inclusion"]["index"], receipt["entry"]["size"] - 1
    path = [unpadded(each) for each in receipt["inclusion"]["path"]]
    while last:
        if index & 1:
            node = naive.sha256(b"\x01", path.pop(0), node)
        elif index < last:
            node = naive.sha256(b"\x01", node, path.pop(0))
        index, last = index // 2, last // 2
    assert node == unpadded(receipt["entry"]["root"])


def verdict_of(receipt: Path, trust: Path) -> str:
    asked = {"receipt": json.loads(receipt.read_text("utf-8")), "trust": json.loads(trust.read_text("utf-8"))}
    asked |= {"at": "2026-12-01T09:00:00+08:00", "knownHash": None, "later": None, "maxAge": None}
    return str(make.run("receipt.check", asked)["expected"]["verdict"])


def test_receipts_in_files_of_their_own_verify_or_do_not() -> None:
    folder = VECTORS / "receipt"
    trusts = sorted(folder.glob("trust-*.json"))
    assert len(trusts) == 3
    for trust in trusts:
        assert verdict_of(folder / trust.name.replace("trust", "valid"), trust) == "valid"
    rejects = sorted(folder.glob("reject-*.json"))
    assert len(rejects) == 12
    assert "valid" not in {verdict_of(each, trust) for each in rejects for trust in trusts}


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
