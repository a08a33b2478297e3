"""An issuer revokes a document by type and number: its act reaches every agency's copy.

Spec page: docs/reference/verdict.md, "Document status".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ulid import ULID

from anchor.entries import document_name
from anchor.keyvalue import Put
from node.context import Node
from node.errors import DomainKeyMissing, NotIssuer
from node.services.ledgeracts import document_call, parse_reason
from node.services.materials import material_type
from node.services.recording import Actor, record
from node.services.requests import DocumentAct


def revoke(node: Node, actor: Actor, body: DocumentAct, *, on_commit: Callable[[str], Sequence[Put]]) -> str:
    """Queue the revocation under the document's tag of every live epoch; return the operation's id.

    Raises:
        TypeUnknown, MaterialInvalid (reason), NotIssuer: the type's entry does not name the caller's agency.
        DomainKeyMissing: this node holds no key of the type's domains.
    """
    kind = material_type(node, body.type_code)
    if actor.agency not in kind.issuers:
        raise NotIssuer(
            "the type's entry does not name this agency as an issuer",
            hint="ask the issuer, or revoke the material that this agency holds",
        )
    reason = parse_reason(body.reason_code)
    documents = [
        document_name(keys.domain, keys.epoch, keys.doc_tag(kind.code, body.document_no))
        for keys in node.keyring.all()
        if keys.domain in kind.domains
    ]
    if not documents:
        raise DomainKeyMissing(
            "this node holds no key of the type's domains", hint="ask the council for the epoch key"
        )
    operation_id = f"doc.{ULID()}"
    ops = [*node.outbox.enqueue([(operation_id, document_call(documents, reason))]), *on_commit(operation_id)]
    record(
        node,
        ops,
        actor=actor,
        action="document.revoke",
        object_id=operation_id,
        outcome="revoked",
        reason=body.reason,
    )
    node.outbox.wake()
    return operation_id
