"""`deltaseal material` and `deltaseal document`: what the agency holds, acts that change its status, erasure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli.arguments import one_subject, parse_reason_code
from cli.client import NodeClient, segment
from cli.downloads import require_new, save_checked
from cli.exitcodes import ExitCode
from cli.session import Session, command

_EXITS = (ExitCode.NOT_FOUND, ExitCode.PERMISSION, ExitCode.INVALID, ExitCode.UNAVAILABLE)
_PAGE = 200

MaterialId = Annotated[str, typer.Argument(metavar="ID", help="Id of the material.")]
ReasonCode = Annotated[
    str, typer.Option("--reason-code", metavar="CODE", help="Number from 1 to 65535, or a name.")
]
ReasonText = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept at the node.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="List, find, fetch and revoke materials.", no_args_is_help=True)
    app.add_typer(group, name="material")
    command(
        group, "list", examples=("material list", "material list --type M1001 --all -o csv"), exits=_EXITS
    )(list_materials)
    command(
        group,
        "show",
        examples=("material show mat_01JCV3", "material show mat_01JCV3 --version 2"),
        exits=_EXITS,
    )(show)
    command(
        group,
        "get",
        examples=("material get mat_01JCV3 --purpose 复核 --case XH-1 --to licence.pdf",),
        exits=(*_EXITS, ExitCode.CONFLICT, ExitCode.PROOF_FAILED),
    )(get)
    command(
        group,
        "search",
        exits=_EXITS,
        examples=(
            "material search --subject 001:91310115FAKE010322",
            "material search --subject @subject.txt --type M5001",
        ),
    )(search)
    for name, function, example in (
        ("revoke", revoke, "--reason-code 1 --reason 办理有误"),
        ("suspend", suspend, "--reason-code 2 --reason 正在核查"),
        ("resume", resume, "--reason-code 2 --reason 核查完毕"),
    ):
        command(
            group,
            name,
            examples=(f"material {name} mat_01JCV3 {example}",),
            exits=(*_EXITS, ExitCode.CONFLICT),
        )(function)
    command(
        group,
        "erase",
        examples=(
            "material erase mat_01JCV3 --confirm mat_01JCV3 --reason-code erasure_requested"
            " --reason 依申请 --purpose 个人信息保护法第四十七条",
        ),
        exits=(*_EXITS, ExitCode.CONFLICT),
    )(erase)
    command(group, "erasure", examples=("material erasure mat_01JCV3",), exits=_EXITS)(erasure)
    command(group, "notices", examples=("material notices",), exits=_EXITS)(notices)
    documents = typer.Typer(
        help="Acts of an issuer about documents, whoever holds copies.", no_args_is_help=True
    )
    app.add_typer(documents, name="document")
    command(
        documents,
        "revoke",
        exits=(*_EXITS, ExitCode.CONFLICT),
        examples=("document revoke --type M1001 --document-no 沪0001 --reason-code 3 --reason 吊销",),
    )(revoke_document)


def list_materials(
    session: Session,
    type_code: Annotated[
        str | None, typer.Option("--type", metavar="CODE", help="Of this type only.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many at most.")] = 50,
    all_pages: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """List the materials that the agency holds, the newest first."""
    with session.client() as client:
        session.out.items("material", list(_pages(client, type_code, None if all_pages else limit)))


def _pages(client: NodeClient, type_code: str | None, limit: int | None) -> Iterator[dict[str, Any]]:
    cursor, left = None, limit
    while left is None or left > 0:
        page = client.get("/v1/materials", typeCode=type_code, cursor=cursor, limit=min(left or _PAGE, _PAGE))
        items = page.get("items", [])
        yield from items[:left]
        cursor = page.get("nextCursor")
        left = None if left is None else left - len(items)
        if not cursor or not items:
            return


def show(
    session: Session,
    material_id: MaterialId,
    version: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="This version; default: the latest.")
    ] = None,
) -> None:
    """Show one material: its state, its dates, its anchor and its versions."""
    with session.client() as client:
        material = client.get(f"/v1/materials/{segment(material_id)}", version=version)
    versions = [each for each in material.get("versions") or [] if isinstance(each, dict)]
    session.out.item("material_detail", material, sections=[("material", versions)])


def get(
    session: Session,
    material_id: MaterialId,
    purpose: Annotated[
        str, typer.Option(metavar="TEXT", help="What it is needed for; kept in the audit log.")
    ],
    case: Annotated[str, typer.Option(metavar="NO", help="Case number; kept in the audit log.")],
    to: Annotated[Path, typer.Option(metavar="FILE", help="Where the bytes go; - is stdout.")],
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Fetch the bytes of a material, checked against the digest that was sealed."""
    require_new(to, force=force)
    # Header values are ASCII (RFC 9110 §5.5): other characters go percent-encoded as UTF-8.
    headers = {"Deltaseal-Purpose": quote(purpose, safe=" "), "Deltaseal-Case": quote(case, safe=" ")}
    path = f"/v1/materials/{segment(material_id)}"
    with session.client() as client:
        material = client.get(path)
        with client.stream(f"{path}/content", headers=headers) as (_headers, pieces):
            saved = save_checked(pieces, to, sha256=str(material.get("sha256")), force=force)
    if str(to) != "-":
        session.out.item("saved", saved)


def search(
    session: Session,
    subject: Annotated[
        list[str], typer.Option(metavar="TYPE:ID", help="Whom it is about, or @FILE with that line.")
    ],
    type_code: Annotated[
        str | None, typer.Option("--type", metavar="CODE", help="Of this type only.")
    ] = None,
) -> None:
    """Find the agency's materials about a subject."""
    question = {"subject": one_subject(subject), **({"typeCode": type_code} if type_code else {})}
    with session.client() as client:
        found = client.post("/v1/materials/search", question, idempotency=False)
    session.out.items("material", found.get("items", []))


def revoke(session: Session, material_id: MaterialId, reason_code: ReasonCode, reason: ReasonText) -> None:
    """Revoke a material for good, as its custodian; this cannot be undone."""
    _act(session, material_id, "revoke", reason_code, reason)


def suspend(session: Session, material_id: MaterialId, reason_code: ReasonCode, reason: ReasonText) -> None:
    """Suspend a material until it is resumed."""
    _act(session, material_id, "suspend", reason_code, reason)


def resume(session: Session, material_id: MaterialId, reason_code: ReasonCode, reason: ReasonText) -> None:
    """Resume a suspended material."""
    _act(session, material_id, "resume", reason_code, reason)


def erase(
    session: Session,
    material_id: MaterialId,
    confirm: Annotated[str, typer.Option(metavar="ID", help="The same id again: this cannot be undone.")],
    reason_code: ReasonCode,
    reason: ReasonText,
    purpose: Annotated[str, typer.Option(metavar="TEXT", help="By which rule; kept in the audit log.")],
) -> None:
    """Erase a material for good: bytes, names, numbers and keys; its records on chain say `erased`."""
    body = {
        "reasonCode": parse_reason_code(reason_code),
        "reason": reason,
        "purpose": purpose,
        "confirm": confirm,
    }
    with session.client() as client:
        _show_erasure(session, client.post(f"/v1/materials/{segment(material_id)}/erase", body))


def erasure(session: Session, material_id: MaterialId) -> None:
    """Show the tombstone of an erased material: how far it is, backups that hold it, members that were told."""
    with session.client() as client:
        _show_erasure(session, client.get(f"/v1/materials/{segment(material_id)}/erasure"))


def _show_erasure(session: Session, found: dict[str, Any]) -> None:
    sections = [
        (name, [each for each in found.get(key) or [] if isinstance(each, dict)])
        for name, key in (("backup", "backups"), ("notice", "notices"))
    ]
    session.out.item("erasure", found, sections=sections)


def notices(session: Session) -> None:
    """List what other members told this node that they erased, and what became of the copies here."""
    with session.client() as client:
        session.out.items("notice_in", client.get("/v1/erasure-notices").get("items", []))


def _act(session: Session, material_id: str, act: str, reason_code: str, reason: str) -> None:
    body = {"reasonCode": parse_reason_code(reason_code), "reason": reason}
    with session.client() as client:
        session.out.item("material", client.post(f"/v1/materials/{segment(material_id)}/{act}", body))


def revoke_document(
    session: Session,
    type_code: Annotated[str, typer.Option("--type", metavar="CODE", help="Type of the document.")],
    document_no: Annotated[str, typer.Option("--document-no", metavar="NO", help="Number on the document.")],
    reason_code: ReasonCode,
    reason: ReasonText,
) -> None:
    """Revoke a document as its issuer; this reaches every agency's copy and cannot be undone."""
    body = {
        "typeCode": type_code,
        "documentNo": document_no,
        "reasonCode": parse_reason_code(reason_code),
        "reason": reason,
    }
    with session.client() as client:
        session.out.item("operation", client.post("/v1/documents/revoke", body))
