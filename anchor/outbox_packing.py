"""Makes transactions of what waits: signs with consecutive nonces, stores, hands over; in this order, always.

Several transactions share one synced write, since a sync costs more than all the rest: one, then two, four, and
from then on eight, so that the first is on its way at once and a full window needs ten syncs instead of 64.
"""

from anchor.chain.contracts import encode_call, gas_for_append
from anchor.chain.deploy import Deployment
from anchor.errors import OutboxCorrupt
from anchor.outbox_courier import Courier
from anchor.outbox_rows import CallOperation, Group, TxKind, TxRow, TxState, decode_queued
from anchor.outbox_store import OutboxStore, Packed
from anchor.signer import Signer

MAX_SHARED = 8


class Packer:
    """Packs groups within one step. `close` stores the last ones; what is not closed was never packed."""

    def __init__(
        self, store: OutboxStore, signer: Signer, *, deployment: Deployment, nonce: int, courier: Courier
    ) -> None:
        """Sign from `nonce` on."""
        self._store, self._signer, self._deployment = store, signer, deployment
        self._nonce, self._courier = nonce, courier
        self._packed: list[Packed] = []
        self._shared = 1

    def append(self, group: Group, seq: int) -> None:
        """Pack records of one stream as the member's batch number `seq`."""
        if group.stream is None:
            raise OutboxCorrupt("the outbox took a call for a record", hint="check the store")
        calldata = encode_call("Ledger", "append", int(group.stream), seq, group.records())
        call = CallOperation("Ledger", calldata, gas_for_append(len(group.waiting)))
        self._sign(group, TxKind.APPEND, call, seq=seq)

    def call(self, group: Group) -> None:
        """Pack one call."""
        operation = decode_queued(*group.waiting[0]).operation
        if not isinstance(operation, CallOperation):
            raise OutboxCorrupt("the outbox took a record for a call", hint="check the store")
        self._sign(group, TxKind.CALL, operation, seq=0)

    def close(self) -> None:
        """Store what is signed, synced; only then hand it over to be sent."""
        if not self._packed:
            return
        self._store.pack(self._packed)
        for packed in self._packed:
            self._courier.hand(packed.row.nonce, packed.transaction.raw)
        self._packed = []
        self._shared = min(MAX_SHARED, self._shared * 2)

    def _sign(self, group: Group, kind: TxKind, call: CallOperation, *, seq: int) -> None:
        signed = self._signer.sign_transaction(
            chain_id=self._deployment.chain_id,
            nonce=self._nonce,
            to=self._deployment.address_of(call.contract),
            calldata=call.calldata,
            gas=call.gas,
        )
        row = TxRow(self._nonce, TxState.SUBMITTED, kind, signed.hash, seq, len(group.waiting))
        self._packed.append(Packed(row, signed, group))
        self._nonce += 1
        if len(self._packed) >= self._shared:
            self.close()
