"""The scenes of the demonstration, in the order in which they are played.

Each scene is a function that does something at the nodes and yields lines: who did what, what should come
of it, what did, and why. A line whose `got` differs from `expected` fails the demonstration. Scenes later
in the list use papers of earlier ones. Must not import `node`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from anchor.errors import DeltasealError
from anchor.headers import Engine
from cli.demo import catalogue as codes
from cli.demo import people
from cli.demo.chainproof import count_records, judge_receipt
from cli.demo.files import Paper
from cli.demo.people import Agency
from cli.demo.stage import Body, Document, Stage, Wish, verdict_block, verdict_reason

_SHORT = {
    "XH": "XH 徐汇",
    "PD": "PD 浦东",
    "QP": "QP 青浦",
    "SH-SC": "SH-SC 市监 (at XH)",
    "chain": "chain",
}


#: Stands between outcomes that are all right.
OR = " or "


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened; `block` is where the record it speaks of stands on chain.

    `expected` may name several outcomes that are right, separated by `OR`.
    """

    scene: str
    who: str
    what: str
    expected: str
    got: str
    why: str = ""
    block: int | None = None

    @property
    def passed(self) -> bool:
        """Say whether it came as it should."""
        return self.got in self.expected.split(OR)

    def as_json(self) -> dict[str, Any]:
        """Render the line for `--json`."""
        fields = ("scene", "who", "what", "expected", "got", "why", "block", "passed")
        return {name: getattr(self, name) for name in fields}


@dataclass(frozen=True, slots=True)
class Held:
    """A paper that was pushed, with what the node answered."""

    paper: Paper
    document: Document
    material: Body

    @property
    def block(self) -> int | None:
        """Return the block of its record, None while there is none."""
        number: int | None = self.material["anchor"]["block"]
        return number


@dataclass(slots=True)
class Cast:
    """What earlier scenes left: papers by name, and the ids of all records that must stand on chain once."""

    held: dict[str, Held] = field(default_factory=dict)

    def record_ids(self) -> list[str]:
        """Return the record ids of all that was pushed so far and is on chain."""
        return [name for each in self.held.values() for name in each.material["anchor"]["recordIds"]]


Scene = Callable[[Stage, Cast], Iterator[Line]]


def play(stage: Stage, *, on_line: Callable[[Line], None]) -> list[Line]:
    """Play all scenes and return their lines; `on_line` sees each as it comes.

    A scene that breaks gives a failed line and the next one is played: one fault must not hide another.
    """
    cast, lines = Cast(), []
    for scene in SCENES:
        for line in _guarded(scene, stage, cast):
            lines.append(line)
            on_line(line)
    return lines


def _guarded(scene: Scene, stage: Stage, cast: Cast) -> Iterator[Line]:
    name = scene.__name__
    try:
        yield from scene(stage, cast)
    except DeltasealError as error:
        yield Line(name, "-", "plays the scene", "no error", error.code, str(error))
    except KeyError as error:
        # An answer without a promised field, or a paper that an earlier, broken scene did not leave.
        yield Line(name, "-", "plays the scene", "no error", "missing", f"{error} is missing")


def licence_and_lease(stage: Stage, cast: Cast) -> Iterator[Line]:
    """A firm's licence and lease, pushed in PD, are reused in XH."""
    scene, firm = "licence_and_lease", people.FIRM_SHENQIAO
    licence = Document(codes.LICENCE, "营业执照(演示)", "LIC-DEMO-0001", [firm])
    lease = Document(
        codes.LEASE, "租赁合同(演示)", "LEASE-DEMO-0001", [firm, people.PEOPLE[0]], valid_days=700
    )
    yield _pushed(stage, cast, scene, people.PD, "licence", licence, stage.mill.licence(firm, licence.number))
    yield _pushed(
        stage, cast, scene, people.PD, "lease", lease, stage.mill.lease(lease.subjects, lease.number)
    )
    stage.network.settle()
    plan = stage.exemptions(people.XH, codes.OPEN_FIRM, firm)
    got = ", ".join(f"{name} {line['outcome']}" for name, line in sorted(plan.items()))
    exempt = {name: line["route"] for name, line in sorted(plan.items()) if line["outcome"] == "exempt"}
    routes = ", ".join(f"{name} by {route}" for name, route in exempt.items())
    expected = "R1 bring_paper, R2 exempt, R3 exempt"
    yield Line(scene, _SHORT["XH"], "asks what a firm need not hand in to open a firm", expected, got, routes)
    for name, requirement, type_code in (("licence", "R3", codes.LICENCE), ("lease", "R2", codes.LEASE)):
        wish = Wish(codes.OPEN_FIRM, requirement, codes.SCENARIO_OPEN, firm, type_code, deliver="bytes")
        yield _reused(
            stage, scene, people.XH, f"reuses the {name} with its bytes", wish, cast.held[name].paper
        )
    yield from _receipt(stage, cast, scene, "licence")


def project_permit(stage: Stage, cast: Cast) -> Iterator[Line]:
    """A project's permit, pushed in QP, is reused in PD by the project code."""
    scene, project = "project_permit", people.PROJECT_QP
    permit = Document(
        codes.LAND_PERMIT, "建设用地规划许可证(演示)", "LAND-DEMO-0001", [project], valid_days=700
    )
    paper = stage.mill.permit(project, "建设用地规划许可证", permit.number)
    yield _pushed(stage, cast, scene, people.QP, "permit", permit, paper)
    stage.network.settle()
    wish = Wish(codes.BUILD, "R2", codes.SCENARIO_BUILD, project, codes.LAND_PERMIT, deliver="bytes")
    yield _reused(stage, scene, people.PD, "reuses the project's permit with its bytes", wish, paper)


def two_persons(stage: Stage, cast: Cast) -> Iterator[Line]:
    """A material about two persons is found by either."""
    scene, pair = "two_persons", people.PEOPLE[:2]
    marriage = Document(codes.MARRIAGE, "结婚证(演示)", "MARR-DEMO-0001", pair)
    paper = stage.mill.scan("结婚证", marriage.number)
    yield _pushed(stage, cast, scene, people.PD, "marriage", marriage, paper)
    stage.network.settle()
    for person in pair:
        line = stage.exemptions(people.QP, codes.RENT_WITHDRAWAL, person)["R4"]
        what = f"looks for the certificate by {person.en}"
        yield Line(scene, _SHORT["QP"], what, "exempt", line["outcome"], f"by {line['route']}")
    for person in pair:
        wish = Wish(codes.RENT_WITHDRAWAL, "R4", codes.SCENARIO_RENT, person, codes.MARRIAGE, deliver="bytes")
        yield _reused(stage, scene, people.QP, f"reuses it for {person.en}", wish, paper)


def superseded(stage: Stage, cast: Cast) -> Iterator[Line]:
    """A new version replaces an old one everywhere."""
    scene, firm = "superseded", people.FIRM_PUJIANG
    lease = Document(codes.LEASE, "租赁合同(演示)", "LEASE-DEMO-0002", [firm], valid_days=100)
    first, second = (stage.mill.lease([firm], lease.number, edition=edition) for edition in (1, 2))
    yield _pushed(stage, cast, scene, people.PD, "lease 1", lease, first)
    renewed = Document(
        codes.LEASE, "租赁合同(演示)", "LEASE-DEMO-0002", [firm], issued_days_ago=1, valid_days=700
    )
    material_id = cast.held["lease 1"].material["materialId"]
    yield _pushed(stage, cast, scene, people.PD, "lease 2", renewed, second, replaces=material_id)
    stage.network.settle()
    yield _verified(
        stage, scene, people.XH, "checks the old version", first.sha256, codes.LEASE, "superseded"
    )
    yield _verified(stage, scene, people.XH, "checks the new version", second.sha256, codes.LEASE, "valid")
    wish = Wish(codes.OPEN_FIRM, "R2", codes.SCENARIO_OPEN, firm, codes.LEASE, deliver="bytes")
    yield _reused(stage, scene, people.XH, "reuses it and gets the new version", wish, second)


def custodian_revokes(stage: Stage, cast: Cast) -> Iterator[Line]:
    """The custodian revokes what it holds; other districts see it."""
    scene, firm = "custodian_revokes", people.FIRM_FENHU
    proof = Document(codes.INSURANCE, "缴费证明(演示)", "INS-DEMO-0001", [firm], valid_days=23)
    paper = stage.mill.insurance(firm, proof.number)
    yield _pushed(stage, cast, scene, people.PD, "insurance", proof, paper)
    stage.network.settle()
    yield _verified(stage, scene, people.QP, "checks it before", paper.sha256, codes.INSURANCE, "valid")
    stage.revoke(people.PD, cast.held["insurance"].material["materialId"])
    stage.network.settle()
    yield _verified(
        stage, scene, people.QP, "checks it after PD revoked it", paper.sha256, codes.INSURANCE, "revoked"
    )
    wish = Wish(codes.FUND, "R3", codes.SCENARIO_FUND, firm, codes.INSURANCE)
    yield _refused(stage, scene, people.QP, "wants to reuse it", wish, "denied, status: revoked")


def issuer_revokes(stage: Stage, cast: Cast) -> Iterator[Line]:
    """The issuer revokes a licence; the copy that another agency holds falls with it."""
    scene, firm = "issuer_revokes", people.FIRM_PUJIANG
    licence = Document(codes.LICENCE, "营业执照(演示)", "LIC-DEMO-0002", [firm])
    paper = stage.mill.licence(firm, licence.number)
    yield _pushed(stage, cast, scene, people.PD, "licence 2", licence, paper)
    stage.network.settle()
    yield _verified(stage, scene, people.QP, "checks it before", paper.sha256, codes.LICENCE, "valid")
    stage.revoke_document(people.SH_SC, licence)
    stage.network.settle()
    what = "checks PD's copy after SH-SC revoked the document"
    yield _verified(stage, scene, people.QP, what, paper.sha256, codes.LICENCE, "revoked")
    wish = Wish(codes.OPEN_FIRM, "R3", codes.SCENARIO_OPEN, firm, codes.LICENCE)
    yield _refused(stage, scene, people.XH, "wants to reuse PD's copy", wish, "denied, status: revoked")


def invoice_once(stage: Stage, cast: Cast) -> Iterator[Line]:
    """An invoice is consumed in PD and refused in QP."""
    scene, firm = "invoice_once", people.FIRM_SHENQIAO
    invoice = Document(codes.INVOICE, "增值税电子发票(演示)", "26310000000000000001", [firm])
    paper = stage.mill.invoice(firm, invoice.number, amount_fen=1_280_000)
    yield _pushed(stage, cast, scene, people.PD, "invoice", invoice, paper)
    stage.network.settle()
    wish = Wish(codes.FUND, "R2", codes.SCENARIO_FUND, firm, codes.INVOICE, consume=True)
    yield _refused(stage, scene, people.PD, "claims the fund with the invoice", wish, "granted")
    stage.network.settle()
    yield _refused(
        stage, scene, people.QP, "claims the same fund with it again", wish, "denied, consume: consumed"
    )


def hash_only(stage: Stage, cast: Cast) -> Iterator[Line]:
    """A material that was pushed as a digest can be checked, but not delivered."""
    scene, project = "hash_only", people.PROJECT_PD
    eia = Document(codes.EIA, "环评批复(演示)", "EIA-DEMO-0001", [project], valid_days=1800)
    paper = stage.mill.permit(project, "环评批复", eia.number)
    yield _pushed(stage, cast, scene, people.QP, "eia", eia, paper, hash_only=True)
    stage.network.settle()
    yield _verified(stage, scene, people.XH, "checks a file it was shown", paper.sha256, codes.EIA, "valid")
    wish = Wish(codes.BUILD, "R3", codes.SCENARIO_BUILD, project, codes.EIA, deliver="bytes")
    yield _refused(
        stage, scene, people.PD, "wants its bytes", wish, "needs_review, release: asserted_bring_file"
    )


def unknown_file(stage: Stage, _cast: Cast) -> Iterator[Line]:
    """A file that nobody ever pushed is unknown."""
    paper = stage.mill.licence(people.FIRM_FENHU, "LIC-NEVER-PUSHED")
    yield _verified(
        stage,
        "unknown_file",
        people.XH,
        "checks a file nobody pushed",
        paper.sha256,
        codes.LICENCE,
        "unknown",
    )


def flipped_bit(stage: Stage, cast: Cast) -> Iterator[Line]:
    """One bit turned makes another file."""
    paper = cast.held["licence"].paper
    altered = Paper(paper.file_name, paper.media_type, paper.flipped(bit=len(paper.content) * 4))
    yield _verified(
        stage,
        "flipped_bit",
        people.XH,
        "checks the licence with one bit turned",
        altered.sha256,
        codes.LICENCE,
        "unknown",
    )


def wrong_person(stage: Stage, cast: Cast) -> Iterator[Line]:
    """The right file shown by the wrong party is told apart, and nothing is released."""
    scene, paper = "wrong_person", cast.held["licence"].paper
    for party, expected in ((people.FIRM_SHENQIAO, "match"), (people.FIRM_FENHU, "mismatch")):
        answer = stage.verify(people.XH, paper.sha256, codes.LICENCE, party)
        what = f"checks the licence against {party.en}"
        yield Line(
            scene,
            _SHORT["XH"],
            what,
            expected,
            answer["subjectMatch"],
            answer["explain"]["en"],
            verdict_block(answer),
        )
    wish = Wish(codes.OPEN_FIRM, "R3", codes.SCENARIO_OPEN, people.FIRM_FENHU, codes.LICENCE)
    yield _refused(
        stage,
        scene,
        people.XH,
        "wants a licence of a firm that has none here",
        wish,
        "denied, found: not_found",
    )


def no_basis(stage: Stage, _cast: Cast) -> Iterator[Line]:
    """A caller whose matter does not ask for it gets nothing."""
    scene, firm = "no_basis", people.FIRM_SHENQIAO
    wish = Wish(codes.FUND, "R2", codes.SCENARIO_FUND, firm, codes.INVOICE)
    yield _refused(
        stage,
        scene,
        people.XH,
        "wants an invoice for a matter of other agencies",
        wish,
        "denied, basis: no_basis",
    )
    wish = Wish(codes.OPEN_FIRM, "R3", codes.SCENARIO_PILOT, firm, codes.LICENCE)
    yield _refused(
        stage,
        scene,
        people.XH,
        "wants a licence under a suspended scenario",
        wish,
        "denied, scenario: scenario_not_live",
    )


def stopped_custodian(stage: Stage, cast: Cast) -> Iterator[Line]:
    """PD's node is killed: its papers can still be checked, and are released again once it is back."""
    scene, paper = "stopped_custodian", cast.held["licence"].paper
    wish = Wish(
        codes.OPEN_FIRM, "R3", codes.SCENARIO_OPEN, people.FIRM_SHENQIAO, codes.LICENCE, deliver="bytes"
    )
    custodian = stage.network.nodes["PD"]
    custodian.part.kill()
    yield _verified(
        stage,
        scene,
        people.XH,
        "checks PD's licence while PD's node is dead",
        paper.sha256,
        codes.LICENCE,
        "valid",
    )
    yield _refused(stage, scene, people.XH, "wants its bytes", wish, "custodian_unavailable")
    custodian.restart()
    yield _reused(stage, scene, people.XH, "wants its bytes once PD is back", wish, paper)


def stopped_chain(stage: Stage, cast: Cast) -> Iterator[Line]:
    """The chain is killed and comes back: pushes are taken meanwhile and anchored exactly once."""
    scene, project = "stopped_chain", people.PROJECT_QP
    eia = Document(codes.EIA, "环评批复(演示)", "EIA-DEMO-0002", [project], valid_days=1800)
    paper = stage.mill.permit(project, "环评批复", eia.number)
    before = stage.network.final()
    stage.network.chain.kill()
    taken = stage.push(people.QP, eia, paper, wait=None)
    status = taken["anchor"]["status"]
    yield Line(
        scene,
        _SHORT["QP"],
        "pushes while the chain is dead",
        "pending",
        status,
        "accepted, kept, not on chain",
    )
    yield _no_false_verdict(stage, scene, cast.held["licence"].paper)
    stage.network.restart_chain()
    after = stage.network.gateway.block(before.number)
    got = "same block" if after is not None and after.hash == before.hash else "another block"
    what = f"is back; its final block {before.number} is looked at again"
    kept = "replayed from its journal" if stage.network.engine is Engine.EMBEDDED else "kept by its signers"
    yield Line(scene, _SHORT["chain"], what, "same block", got, kept, before.number)
    stage.network.settle()
    material = stage.network.client(people.QP).get(f"/v1/materials/{taken['materialId']}")
    cast.held["eia 2"] = Held(paper, eia, material)
    yield Line(
        scene,
        _SHORT["QP"],
        "looks at the material again",
        "final",
        material["anchor"]["status"],
        "",
        cast.held["eia 2"].block,
    )
    yield _verified(stage, scene, people.XH, "checks it", paper.sha256, codes.EIA, "valid")


def exactly_once(stage: Stage, cast: Cast) -> Iterator[Line]:
    """Every record of the demonstration stands on chain once: counted on the chain itself."""
    counted = count_records(stage.network, cast.record_ids())
    got = f"{sum(counted.values())} of {len(counted)}, at most {max(counted.values(), default=0)} each"
    expected = f"{len(counted)} of {len(counted)}, at most 1 each"
    yield Line(
        "exactly_once", _SHORT["chain"], "holds the records of all that was pushed", expected, got, "counted"
    )


#: In the order of play.
SCENES: tuple[Scene, ...] = (
    licence_and_lease,
    project_permit,
    two_persons,
    superseded,
    custodian_revokes,
    issuer_revokes,
    invoice_once,
    hash_only,
    unknown_file,
    flipped_bit,
    wrong_person,
    no_basis,
    stopped_custodian,
    stopped_chain,
    exactly_once,
)


def _pushed(
    stage: Stage,
    cast: Cast,
    scene: str,
    agency: Agency,
    name: str,
    document: Document,
    paper: Paper,
    *,
    replaces: str | None = None,
    hash_only: bool = False,
) -> Line:
    """Push a paper, keep it under `name` and say how far it came."""
    material = stage.push(agency, document, paper, replaces=replaces, hash_only=hash_only)
    held = cast.held[name] = Held(paper, document, material)
    kind = "only the digest of " if hash_only else ""
    what = f"pushes {kind}{paper.file_name}"
    why = f"version {material['version']}, {len(material['anchor']['recordIds'])} record(s)"
    return Line(scene, _SHORT[agency.key], what, "final", material["anchor"]["status"], why, held.block)


def _verified(
    stage: Stage, scene: str, agency: Agency, what: str, sha256: str, type_code: str, expected: str
) -> Line:
    answer = stage.verify(agency, sha256, type_code)
    got = answer["verdict"]
    return Line(scene, _SHORT[agency.key], what, expected, got, verdict_reason(answer), verdict_block(answer))


def _reused(stage: Stage, scene: str, agency: Agency, what: str, wish: Wish, paper: Paper) -> Line:
    """Reuse with bytes: granted counts only with the digest of the paper that was pushed."""
    released = stage.reuse(agency, wish)
    got = released.outcome
    if got == "granted":
        got += ", same bytes" if released.sha256 == paper.sha256 else ", other bytes"
    return Line(scene, _SHORT[agency.key], what, "granted, same bytes", got, released.why, released.block)


def _refused(stage: Stage, scene: str, agency: Agency, what: str, wish: Wish, expected: str) -> Line:
    """Ask for a reuse whose outcome is `expected`, with the check that failed."""
    released = stage.reuse(agency, wish)
    got = f"{released.outcome}, {released.failed}" if released.failed else released.outcome
    return Line(scene, _SHORT[agency.key], what, expected, got, released.why, released.block)


def _receipt(stage: Stage, cast: Cast, scene: str, name: str) -> Iterator[Line]:
    """Fetch a receipt at its custodian and check it without the node: against the chain, then beside a lie."""
    held = cast.held[name]
    shown = stage.network.client(people.PD).get(f"/v1/receipts/{held.material['materialId']}")
    for what, receipt, expected in (
        (f"checks the {name}'s receipt against the chain", shown, "pass"),
        ("checks it with another member named as custodian", {**shown, "memberId": people.QP_MEMBER}, "fail"),
    ):
        got, why = judge_receipt(stage.network, receipt, sha256=held.paper.sha256, at=datetime.now(UTC))
        yield Line(scene, "auditor", what, expected, got, why, held.block)


def _no_false_verdict(stage: Stage, scene: str, paper: Paper) -> Line:
    """While the chain is away a verdict is stale and says what was last known, or is still fresh."""
    answer = stage.verify(people.XH, paper.sha256, codes.LICENCE)
    expected = OR.join(("stale, last known valid", "valid, fresh"))
    stale = answer["verdict"] == "stale"
    rest = f"last known {answer['lastKnown']}" if stale else "fresh" if answer["fresh"] else "not fresh"
    got = f"{answer['verdict']}, {rest}"
    why = verdict_reason(answer)
    return Line(scene, _SHORT["XH"], "checks a licence while the chain is dead", expected, got, why)
