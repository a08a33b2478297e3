"""Deploy the contracts, find them again by the Directory, and act as the council.

The Directory's address, the chain id and the genesis hash are all that a node is configured with. Sends
transactions one sender at a time; whoever needs durability uses `anchor/outbox.py`.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import rlp

from anchor.chain.contracts import (
    creation_code,
    decode_result,
    decode_revert,
    encode_call,
    gas_for,
    gas_for_creation,
    selector,
)
from anchor.chain.errors import CallReverted
from anchor.chain.gateway import Gateway, Receipt, SendOutcome
from anchor.envelopes import epoch_info, seal
from anchor.errors import ChainMismatch, ChainUnavailable, TransactionRefused
from anchor.keccak import keccak
from anchor.signer import SignedTransaction, Signer

REVIEWER_ROLE = 1
NAMES = ("authority", "members", "ledger", "catalog")
MAX_ENVELOPES = 64
MAX_APPROVALS = 128
MINED_TIMEOUT_S = 120.0
POLL_S = 0.02
RESEND_S = 3.0


class Role(IntEnum):
    """What a member is (`IMembers.Role`)."""

    CITY = 1
    SECTOR = 2
    DISTRICT = 3
    PARTNER = 4
    OBSERVER = 5


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the contracts are; `directory` and the others are 20-byte addresses."""

    chain_id: int
    genesis: bytes
    directory: bytes
    authority: bytes
    members: bytes
    ledger: bytes
    catalog: bytes

    def address_of(self, contract: str) -> bytes:
        """Return the address of a contract by its name ("Ledger")."""
        addresses: dict[str, bytes] = {
            "Directory": self.directory,
            "Authority": self.authority,
            "Members": self.members,
            "Ledger": self.ledger,
            "Catalog": self.catalog,
        }
        return addresses[contract]


@dataclass(frozen=True, slots=True)
class Profile:
    """What the council admits (`IMembers.Profile`). Times in seconds since 1970; `valid_until` 0 = open."""

    account: bytes
    role: Role
    level: int
    area: int
    uscc: str
    valid_from: int
    valid_until: int
    name: str
    endpoint: str
    hpke_key: bytes

    def as_struct(self) -> Mapping[str, object]:
        """Return the fields by their Solidity names."""
        return {
            "account": self.account,
            "role": int(self.role),
            "level": self.level,
            "area": self.area,
            "uscc": self.uscc.encode(),
            "validFrom": self.valid_from,
            "validUntil": self.valid_until,
            "name": self.name,
            "endpoint": self.endpoint,
            "hpkeKey": self.hpke_key,
        }


# Deploying and finding


def contract_address(sender: bytes, nonce: int) -> bytes:
    """Return the address of the contract that `sender` creates with this nonce."""
    return keccak(rlp.encode([sender, nonce]))[12:]


def deploy(gateway: Gateway, council: Signer, *, on_step: Callable[[str], None] | None = None) -> Deployment:
    """Deploy all contracts, enter them in the Directory and give the council the reviewer's role.

    All transactions are sent at once, with consecutive nonces; `on_step` hears each that is mined.
    Raises TransactionRefused naming the step, ChainUnavailable.
    """
    chain_id, genesis = gateway.chain_id(), _genesis(gateway)
    first = gateway.nonce(council.address)
    at = [contract_address(council.address, first + offset) for offset in range(5)]
    authority, directory, members, ledger, catalog = at
    deployment = Deployment(chain_id, genesis, directory, authority, members, ledger, catalog)
    signed = []
    for offset, (step, target, calldata, gas) in enumerate(_steps(deployment, council.address)):
        transaction = council.sign_transaction(
            chain_id=chain_id, nonce=first + offset, to=target, calldata=calldata, gas=gas
        )
        signed.append((step, transaction))
        _send(gateway, transaction)
    for step, transaction in signed:
        if not wait_mined(gateway, transaction).succeeded:
            raise TransactionRefused(
                f"deploying stopped: {step} was reverted", hint="use an account of its own"
            )
        if on_step is not None:
            on_step(step)
    return deployment


def _steps(deployment: Deployment, council: bytes) -> list[tuple[str, bytes | None, bytes, int]]:
    """List the deployment's transactions in nonce order: (name, target or None to create, calldata, gas)."""
    authority, members = deployment.authority, deployment.members
    codes = {
        "Authority": creation_code("Authority", council),
        "Directory": creation_code("Directory", authority),
        "Members": creation_code("Members", authority),
        "Ledger": creation_code("Ledger", authority, members, bytes(20)),
        "Catalog": creation_code("Catalog", authority, members),
    }
    steps: list[tuple[str, bytes | None, bytes, int]] = [
        (f"create {name}", None, code, gas_for_creation(code)) for name, code in codes.items()
    ]
    reviewed = [selector("Catalog", name) for name in ("approve", "approveMany")]
    calls = [
        ("Authority", "setTargetFunctionRole", (deployment.catalog, reviewed, REVIEWER_ROLE)),
        ("Authority", "grantRole", (REVIEWER_ROLE, council, 0)),
        *(("Directory", "set", (encode_name(name), 1, _named(deployment, name))) for name in NAMES),
    ]
    for contract, function, arguments in calls:
        calldata = encode_call(contract, function, *arguments)
        gas = gas_for(contract, function, calldata)
        steps.append((f"{contract}.{function}", deployment.address_of(contract), calldata, gas))
    return steps


def resolve(gateway: Gateway, directory: bytes, *, chain_id: int, genesis: bytes | None) -> Deployment:
    """Find the contracts that `directory` names and check that this is the chain we mean.

    Raises ChainMismatch: another chain id or genesis, no code, a name that is not set, or contracts that do not
    belong together. Raises ChainUnavailable when the chain cannot be asked.
    """
    found_id, found_genesis = gateway.chain_id(), _genesis(gateway)
    if found_id != chain_id:
        raise _mismatch("the chain has another chain id", expected=chain_id, found=found_id)
    if genesis is not None and found_genesis != genesis:
        raise _mismatch("the chain has another genesis block: it is another chain")
    addresses = {name: _latest(gateway, directory, name) for name in NAMES}
    deployment = Deployment(chain_id, found_genesis, directory, **addresses)
    _check_wiring(gateway, deployment)
    return deployment


def _latest(gateway: Gateway, directory: bytes, name: str) -> bytes:
    version, target = _view(gateway, directory, "Directory", "latest", encode_name(name))
    if version == 0 or not gateway.code(target):
        raise _mismatch(f"the Directory does not name a contract for {name}")
    return bytes(target)


def _check_wiring(gateway: Gateway, deployment: Deployment) -> None:
    for contract in ("Ledger", "Catalog"):
        address = deployment.address_of(contract)
        (members,) = _view(gateway, address, contract, "members")
        if members != deployment.members:
            raise _mismatch(f"{contract} follows another Members contract than the Directory names")
    for contract in ("Members", "Ledger", "Catalog"):
        (authority,) = _view(gateway, deployment.address_of(contract), contract, "authority")
        if authority != deployment.authority:
            raise _mismatch(f"{contract} obeys another authority than the Directory names")


def _view(
    gateway: Gateway, address: bytes, contract: str, function: str, *arguments: object
) -> tuple[Any, ...]:
    """Ask a view of a contract that may not be there or not be ours. Raises ChainMismatch then."""
    try:
        raw = gateway.call(address, encode_call(contract, function, *arguments))
    except CallReverted as error:
        raise _mismatch(f"there is no {contract} contract at this address") from error
    if not raw:
        raise _mismatch(f"there is no {contract} contract at this address")
    return decode_result(contract, function, raw)


def _mismatch(message: str, **facts: str | int) -> ChainMismatch:
    return ChainMismatch(
        message, hint="check chain_rpc, chain_id, genesis and directory in the settings", **facts
    )


def encode_name(name: str) -> bytes:
    """Return a Directory name: ASCII, padded with zeros to 32 bytes."""
    return name.encode("ascii").ljust(32, b"\x00")


def _named(deployment: Deployment, name: str) -> bytes:
    return deployment.address_of(name.capitalize())


def _genesis(gateway: Gateway) -> bytes:
    block = gateway.block(0)
    if block is None:
        raise ChainUnavailable("the chain does not show its genesis block", hint="see the chain client's log")
    return block.hash


# Sending and waiting


def _send(gateway: Gateway, transaction: SignedTransaction) -> None:
    outcome = gateway.send_raw(transaction.raw)
    if outcome not in (SendOutcome.ACCEPTED, SendOutcome.KNOWN):
        raise TransactionRefused(
            "the chain has another transaction of this account with the same nonce",
            hint="let one program use this account at a time, then try again",
            outcome=outcome.value,
        )


def wait_mined(
    gateway: Gateway, transaction: SignedTransaction, *, timeout_s: float = MINED_TIMEOUT_S
) -> Receipt:
    """Wait until a sent transaction is in a block; it is sent again when the chain seems to have lost it.

    Raises ChainUnavailable at the time-out.
    """
    deadline = time.monotonic() + timeout_s
    resend = time.monotonic() + RESEND_S
    while time.monotonic() < deadline:
        receipt = gateway.receipt(transaction.hash)
        if receipt is not None:
            return receipt
        if time.monotonic() > resend:
            gateway.send_raw(transaction.raw)
            resend = time.monotonic() + RESEND_S
        time.sleep(POLL_S)
    raise ChainUnavailable("the transaction was not mined in time", hint="check that the chain makes blocks")


class CouncilActs:
    """What the council does, one transaction each (more where a list is long), waited for until it is mined.

    Every method raises TransactionRefused (fact `revert`: the contract's error name) or ChainUnavailable.
    """

    def __init__(self, gateway: Gateway, signer: Signer, deployment: Deployment) -> None:
        """Act through `gateway` with the council's key."""
        self._gateway, self._signer, self._deployment = gateway, signer, deployment
        self._next_nonce = 0
        self._last: SignedTransaction | None = None

    def admit_member(self, member_id: int, profile: Profile) -> Receipt:
        """Admit a member under an id never used before."""
        return self._act("Members", "admit", member_id, profile.as_struct())

    def suspend(self, member_id: int) -> Receipt:
        """Suspend an active member; it can write nothing until it is reinstated."""
        return self._act("Members", "suspend", member_id)

    def reinstate(self, member_id: int) -> Receipt:
        """Let a suspended member write again."""
        return self._act("Members", "reinstate", member_id)

    def remove(self, member_id: int) -> Receipt:
        """End a membership for good."""
        return self._act("Members", "remove", member_id)

    def rotate_account(self, member_id: int, account: bytes) -> Receipt:
        """Give a member another account; the old one speaks for nobody any more."""
        return self._act("Members", "rotateAccount", member_id, account)

    def name_successor(self, member_id: int, successor: int) -> Receipt:
        """Let `successor` act for `member_id`'s claims (0 = nobody)."""
        return self._act("Members", "nameSuccessor", member_id, successor)

    def set_endpoint(self, member_id: int, endpoint: str) -> Receipt:
        """Enter where a member's node answers."""
        return self._act("Members", "setEndpoint", member_id, endpoint)

    def name_reviewer(self, account: bytes) -> Receipt:
        """Let an account approve and retire catalogue versions."""
        return self._act("Authority", "grantRole", REVIEWER_ROLE, account, 0)

    def set_signers(self, from_block: int, signers: Sequence[bytes]) -> Receipt:
        """Record who signs the chain from a block on; the addresses are sorted here."""
        return self._act("Members", "setSigners", from_block, sorted(signers))

    def publish_epoch(
        self, domain: int, epoch: int, secret: bytes, recipients: Mapping[int, bytes]
    ) -> list[Receipt]:
        """Seal a domain's epoch secret to each member's public HPKE key and publish the envelopes.

        Epoch 0 is the domain's consume key. At most 64 envelopes go into one transaction.
        """
        chain_id, directory = self._deployment.chain_id, self._deployment.directory
        receipts, members = [], sorted(recipients)
        for start in range(0, len(members), MAX_ENVELOPES):
            part = members[start : start + MAX_ENVELOPES]
            sealed = [
                seal(
                    recipients[member],
                    info=epoch_info(chain_id, directory, domain, epoch, member),
                    plaintext=secret,
                )
                for member in part
            ]
            receipts.append(self._act("Members", "publishEnvelopes", domain, epoch, part, sealed))
        return receipts

    def approve(self, keys: Sequence[bytes], versions: Sequence[int]) -> list[Receipt]:
        """Approve pending catalogue versions; at most 128 go into one transaction."""
        receipts = []
        for start in range(0, len(keys), MAX_APPROVALS):
            stop = start + MAX_APPROVALS
            receipts.append(self._act("Catalog", "approveMany", keys[start:stop], versions[start:stop]))
        return receipts

    def retire(self, key: bytes, version: int) -> Receipt:
        """Retire a catalogue version for good."""
        return self._act("Catalog", "retire", key, version)

    def transfer_owner(self, kind: int, code: str, member_id: int) -> Receipt:
        """Give a catalogue code to another member."""
        return self._act("Catalog", "transferOwner", kind, code, member_id)

    def clear_consumption(self, nullifier: bytes, reason: int) -> Receipt:
        """Let what was consumed once be consumed again."""
        return self._act("Ledger", "clearConsumption", nullifier, reason)

    def _act(self, contract: str, function: str, *arguments: object) -> Receipt:
        calldata = encode_call(contract, function, *arguments)
        target = self._deployment.address_of(contract)
        if self._last is not None:
            # A newest block may be taken back; what it held comes again, and this act may build on it.
            wait_mined(self._gateway, self._last)
        self._rehearse(target, calldata, f"{contract}.{function}")
        nonce = max(self._gateway.nonce(self._signer.address, pending=True), self._next_nonce)
        transaction = self._signer.sign_transaction(
            chain_id=self._deployment.chain_id,
            nonce=nonce,
            to=target,
            calldata=calldata,
            gas=gas_for(contract, function, calldata),
        )
        _send(self._gateway, transaction)
        self._last, self._next_nonce = transaction, nonce + 1
        receipt = wait_mined(self._gateway, transaction)
        if not receipt.succeeded:
            self._rehearse(target, calldata, f"{contract}.{function}")
            raise TransactionRefused(
                f"{contract}.{function} was reverted", hint="look at the chain and try again"
            )
        return receipt

    def _rehearse(self, target: bytes, calldata: bytes, act: str) -> None:
        """Run the call without sending it, so that a refusal has its reason and costs no nonce."""
        try:
            self._gateway.call(target, calldata, sender=self._signer.address)
        except CallReverted as error:
            name, _ = decode_revert(error.reason)
            raise TransactionRefused(
                f"{act} is refused by the contract: {name or 'no reason given'}",
                hint="check who acts and the state of what is acted on",
                revert=name,
            ) from error


def new_epoch_secret() -> bytes:
    """Make the 32 random bytes of an epoch."""
    return secrets.token_bytes(32)
