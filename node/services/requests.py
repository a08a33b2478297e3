"""Typed requests of the use cases, as msgspec structs: unknown fields are refused, lengths are bounded.

Field names on the wire are lowerCamelCase. Values are checked further by the use case that takes them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from anchor.base64url import parse_base64url
from anchor.tags import TAG_BYTES

Code = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_.\-/]+$")]
CaseNo = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(min_length=1, max_length=512)]
Sha256Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
DateText = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class SubjectRef(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Who or what a material is about."""

    id_type: Annotated[str, Meta(min_length=3, max_length=3)]
    id: Annotated[str, Meta(min_length=1, max_length=64)]
    role: Annotated[str, Meta(max_length=64)] = ""


class SubjectQuery(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A subject asked about."""

    id_type: Annotated[str, Meta(min_length=3, max_length=3)]
    id: Annotated[str, Meta(min_length=1, max_length=64)]


class MaterialMeta(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """The `meta` part of a push."""

    type_code: Code
    subjects: Annotated[list[SubjectRef], Meta(min_length=1, max_length=16)]
    case_no: CaseNo
    title: Text
    sha256: Sha256Hex
    document_no: Annotated[str, Meta(max_length=128)] | None = None
    issued_on: DateText | None = None
    expires_on: DateText | None = None
    file_name: Annotated[str, Meta(max_length=255)] | None = None
    media_type: Annotated[str, Meta(max_length=127)] | None = None
    replaces: Annotated[str, Meta(max_length=40)] | None = None


class MaterialSearch(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Find own materials by subject."""

    subject: SubjectQuery
    type_code: Code | None = None


class StatusAct(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Why a material is revoked, suspended or resumed."""

    reason_code: int | str
    reason: Text


class ErasureAct(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Why a material is erased for good; `confirm` repeats its id."""

    reason_code: int | str
    reason: Text
    purpose: Annotated[str, Meta(min_length=1, max_length=256)]
    confirm: Annotated[str, Meta(max_length=40)]


class BackupRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where the caller is going to keep a backup, in its own words; an erasure names it."""

    place: Annotated[str, Meta(max_length=512)] = ""


class DocumentAct(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An issuer's revocation of a document, wherever its copies lie."""

    type_code: Code
    document_no: Annotated[str, Meta(min_length=1, max_length=128)]
    reason_code: int | str
    reason: Text


class VerifyRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Ask about a document by digest or receipt."""

    sha256: Sha256Hex | None = None
    type_code: Code | None = None
    subject: SubjectQuery | None = None
    receipt: dict[str, Any] | None = None


class VerifyBatch(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Many questions in one call."""

    items: Annotated[list[VerifyRequest], Meta(min_length=1, max_length=1000)]


class ExemptionRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What need not be handed in for this matter by this subject."""

    matter_code: Code
    subject: SubjectQuery


class Basis(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Why the caller may use the document."""

    kind: Annotated[str, Meta(max_length=16)]
    grant_id: Annotated[str, Meta(max_length=40)] | None = None


class ReuseRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Ask to use a document that another agency holds."""

    case_no: CaseNo
    matter_code: Code
    req_id: Code
    subject: SubjectQuery
    basis: Basis | None = None
    purpose: Annotated[str, Meta(max_length=256)] = ""
    scenario_code: Annotated[str, Meta(max_length=64)] = ""
    type_code: Code | None = None
    document_no: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    sha256: Sha256Hex | None = None
    consume: bool = False
    deliver: Literal["none", "facts", "bytes"] = "none"


class KeyRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A new API key."""

    agency: Annotated[str, Meta(min_length=18, max_length=18)]
    scopes: Annotated[list[str], Meta(min_length=1, max_length=16)]
    label: Annotated[str, Meta(max_length=64)] = ""
    expires_at: int = 0


class DocumentPlace(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One status slot of a document, as a receipt names it."""

    member_id: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
    domain: Annotated[int, Meta(ge=0, le=0xFFFF)]
    epoch: Annotated[int, Meta(ge=0, le=0xFFFF)]
    doc_tag: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{21}[AQgw]$")]

    @property
    def place(self) -> tuple[int, int, int, bytes]:
        """What names the slot."""
        return (self.member_id, self.domain, self.epoch, parse_base64url(self.doc_tag, length=TAG_BYTES))


class StatementRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The claim of an old receipt whose present status is asked for; nothing that the receipt opens."""

    member_id: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
    commitment: Sha256Hex
    batch_id: Annotated[int, Meta(ge=0, lt=1 << 53)]
    documents: Annotated[list[DocumentPlace], Meta(max_length=64)]


class ReceiptsRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Receipts of several materials, all as of one block."""

    material_ids: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=40)]], Meta(min_length=1, max_length=64)
    ]
    open: Annotated[list[Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,64}$")]], Meta(max_length=32)] = []


class TokenRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A slip's token: for which version, how long, and which fields its receipt opens."""

    version: Annotated[int, Meta(ge=1)] | None = None
    days: Annotated[int, Meta(ge=1, le=3660)] = 90
    open: Annotated[list[Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,64}$")]], Meta(max_length=32)] = []


class SlipRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The token that the slip's QR code leads to."""

    token: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{24}$")]


class SettleRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Why an alarm about a fork ends."""

    reason: Text


class EntryState(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The version that an act on a catalogue entry is about."""

    version: Annotated[int, Meta(ge=1, le=4294967295)]


class ImportLine(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One line of a catalogue import."""

    kind: Annotated[str, Meta(min_length=1, max_length=32)]
    code: Annotated[str, Meta(min_length=1, max_length=128)]
    entry: msgspec.Raw
