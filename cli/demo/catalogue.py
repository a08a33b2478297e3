"""The catalogue of the demonstration, as entries ready for `POST /v1/catalog/imports`.

Twelve material types, six matters, the scenarios and agencies that decisions read, and a few duties,
datasets, systems, standards and links that are anchored and shown. Codes, levels, share classes and terms
are demonstration values and no law. Shapes: docs/reference/catalog-entry.md. Imports only `cli.demo`.
"""

from collections.abc import Iterator
from typing import Any

from cli.demo import people, registers
from cli.demo.entry import CatalogueEntry, Entry, named

#: The one tag domain whose keys the demonstration hands out; every type records into it.
CITY_DOMAIN = 1

LICENCE, LEASE, MARRIAGE, INSURANCE, INVOICE = "M1002", "M5001", "M1005", "M3001", "M5002"
LAND_PERMIT, EIA = "M2001", "M2002"
OPEN_FIRM, RENT_WITHDRAWAL, BIRTH, TALENT, FUND, BUILD = (
    "990110100100",
    "990120200100",
    "990130300100",
    "990140400100",
    "990150500100",
    "990160600100",
)
SCENARIO_OPEN, SCENARIO_BUILD, SCENARIO_RENT, SCENARIO_FUND, SCENARIO_PILOT = (
    f"SC-310000-{number:04d}" for number in range(1, 6)
)
FUND_CODE = "FUND-310000-2026-07"


def _agencies() -> Iterator[CatalogueEntry]:
    for agency in people.AGENCIES:
        yield CatalogueEntry(
            "agency",
            agency.uscc,
            {
                "name": named(agency.zh, agency.en),
                "area": agency.area,
                "level": agency.level,
                "memberId": agency.member_id,
                "role": agency.role,
            },
        )


_SHARE_CONDITION = named("事项办理需要,且应用场景已登记", "needed for a matter, under a registered scenario")
_PERSON, _ORG, _PROJECT = "111", "001", "900"
_HOUR, _DAY = 3600, 86_400


def _type(
    code: str,
    name: tuple[str, str],
    kind: str,
    *,
    subjects: tuple[str, ...],
    level: str,
    share: int,
    issuers: tuple[people.Agency, ...],
    freshness_s: int,
    retention: str,
    validity_days: int | None = None,
) -> CatalogueEntry:
    entry: Entry = {
        "name": named(*name),
        "kind": kind,
        "subjectKinds": list(subjects),
        "level": level,
        "shareType": str(share),
        "issuers": [agency.uscc for agency in issuers],
        "domains": [CITY_DOMAIN],
        # A type of level 4 is not findable by its subject: it is asked for at its issuer.
        "indexed": level != "L4",
        "freshnessSeconds": freshness_s,
        "retention": retention,
        "consumeOnce": code == INVOICE,
    }
    if share == 2:
        entry["shareCondition"] = _SHARE_CONDITION
    if validity_days is not None:
        entry["validityDays"] = validity_days
    if code == INVOICE:
        entry["consumeDomain"] = CITY_DOMAIN
    return CatalogueEntry("materialType", code, entry)


def _certificate(
    code: str,
    name: tuple[str, str],
    *,
    subjects: tuple[str, ...] = (_PERSON,),
    level: str = "L3",
    share: int = 2,
    issuer: people.Agency = people.SH_GA,
    freshness_s: int = _HOUR,
    retention: str = "permanent",
    validity_days: int | None = None,
) -> CatalogueEntry:
    """Return a certificate's type; most are about a person, sensitive and issued by the police."""
    return _type(
        code,
        name,
        "certificate",
        subjects=subjects,
        level=level,
        share=share,
        issuers=(issuer,),
        freshness_s=freshness_s,
        retention=retention,
        validity_days=validity_days,
    )


def _material_types() -> Iterator[CatalogueEntry]:
    yield _certificate("M1001", ("居民身份证", "ID card"), retention="30y")
    yield _certificate(
        LICENCE,
        ("营业执照", "Business licence"),
        subjects=(_ORG,),
        level="L1",
        share=1,
        issuer=people.SH_SC,
        freshness_s=_DAY,
    )
    yield _certificate(
        "M1003",
        ("不动产权证书", "Real-estate title"),
        subjects=(_PERSON, _ORG, _PROJECT),
        issuer=people.SH_GH,
    )
    yield _certificate("M1004", ("出生医学证明", "Birth certificate"), level="L4")
    yield _certificate(MARRIAGE, ("结婚证", "Marriage certificate"))
    yield _certificate("M1006", ("户口簿", "Household register"), level="L4", validity_days=90)
    yield from _approvals()
    yield from _proofs_and_contracts()


def _approvals() -> Iterator[CatalogueEntry]:
    for code, name, years in (
        (LAND_PERMIT, ("建设用地规划许可证", "Land-use planning permit"), 2),
        (EIA, ("环评批复", "EIA approval"), 5),
    ):
        yield _type(
            code,
            name,
            "approval",
            subjects=(_PROJECT,),
            level="L2",
            share=1,
            issuers=(people.SH_GH,),
            freshness_s=_DAY,
            retention="permanent",
            validity_days=365 * years,
        )


def _proofs_and_contracts() -> Iterator[CatalogueEntry]:
    for code, name, subjects, validity_days in (
        (INSURANCE, ("社会保险缴费证明", "Social-insurance proof"), (_PERSON, _ORG), 30),
        ("M3002", ("学历学位查验报告", "Degree check report"), (_PERSON,), 180),
    ):
        yield _type(
            code,
            name,
            "attestation",
            subjects=subjects,
            level="L3",
            share=2,
            issuers=(people.SH_RS,),
            freshness_s=_HOUR,
            retention="10y",
            validity_days=validity_days,
        )
    yield _type(
        LEASE,
        ("房屋租赁合同(备案)", "Registered lease"),
        "contract",
        subjects=(_PERSON, _ORG),
        level="L3",
        share=2,
        issuers=(people.XH, people.PD, people.QP),
        freshness_s=_HOUR,
        retention="30y",
    )
    yield _type(
        INVOICE,
        ("增值税电子发票", "VAT e-invoice"),
        "invoice",
        subjects=(_ORG,),
        level="L2",
        share=2,
        issuers=(people.SH_CZ,),
        freshness_s=2 * 60,
        retention="30y",
    )


def _requirement(number: int, zh: str, en: str, any_of: tuple[str, ...], **extra: Any) -> Entry:
    """Return a requirement line: required, one copy, by certificate or history, else on paper."""
    return {
        "reqId": f"R{number}",
        "name": named(zh, en),
        "anyOf": list(any_of),
        "necessity": "required",
        "copies": 1,
        "exemptionRoutes": ["certificate", "history", "paper"],
        **extra,
    }


def _matter(
    code: str,
    name: tuple[str, str],
    *,
    owner: people.Agency,
    area: str,
    agencies: tuple[people.Agency, ...],
    duty: str,
    requirements: tuple[Entry, ...],
) -> CatalogueEntry:
    entry = {
        "name": named(*name),
        "area": area,
        "owner": owner.uscc,
        "agencies": [agency.uscc for agency in agencies],
        "dutyCode": duty,
        "requirements": list(requirements),
    }
    return CatalogueEntry("matter", code, entry)


_ID_CARD = ("身份证明", "Proof of identity", ("M1001",))
_CONDITIONAL = {"necessity": "conditional"}


def _matters() -> Iterator[CatalogueEntry]:
    yield _matter(
        OPEN_FIRM,
        ("开办企业", "Open a firm"),
        owner=people.SH_SC,
        area="310104",
        agencies=(people.XH, people.SH_SC),
        duty="DY-310000-SCJG-0007",
        requirements=(
            _requirement(1, *_ID_CARD),
            _requirement(
                2,
                "住所使用证明",
                "Right to use the premises",
                (LEASE, "M1003"),
                exemptionRoutes=["certificate", "history", "commitment", "paper"],
            ),
            _requirement(
                3,
                "法人股东营业执照",
                "Licence of a corporate shareholder",
                (LICENCE,),
                condition=named("股东为法人时", "where a shareholder is a firm"),
                **_CONDITIONAL,
            ),
        ),
    )
    yield _matter(
        RENT_WITHDRAWAL,
        ("公积金提取(租房)", "Provident-fund withdrawal for rent"),
        owner=people.SH_GJ,
        area="310118",
        agencies=(people.QP, people.XH, people.SH_GJ),
        duty="DY-310000-GJJ-0003",
        requirements=(
            _requirement(1, *_ID_CARD),
            _requirement(2, "租赁合同", "Lease", (LEASE,)),
            _requirement(
                3,
                "缴费证明",
                "Insurance payments",
                (INSURANCE,),
                freshnessDays=30,
                exemptionRoutes=["certificate", "history", "data_check", "paper"],
            ),
            _requirement(
                4,
                "结婚证",
                "Marriage certificate",
                (MARRIAGE,),
                condition=named("夫妻共同提取时", "for a joint withdrawal"),
                **_CONDITIONAL,
            ),
        ),
    )
    yield from _family_and_talent()
    yield from _money_and_building()


def _family_and_talent() -> Iterator[CatalogueEntry]:
    yield _matter(
        BIRTH,
        ("出生一件事", "Birth of a child, as one thing"),
        owner=people.SH_GA,
        area="310115",
        agencies=(people.PD, people.SH_GA),
        duty="DY-310000-GAJ-0002",
        requirements=(
            _requirement(1, *_ID_CARD, copies=4),
            _requirement(2, "出生医学证明", "Birth certificate", ("M1004",), copies=3),
            _requirement(3, "结婚证", "Marriage certificate", (MARRIAGE,)),
            _requirement(4, "户口簿", "Household register", ("M1006",), copies=3, freshnessDays=90),
            _requirement(5, "缴费证明", "Insurance payments", (INSURANCE,), freshnessDays=30),
        ),
    )
    yield _matter(
        TALENT,
        ("人才引进落户", "Settling of recruited talent"),
        owner=people.SH_RS,
        area="310104",
        agencies=(people.XH, people.SH_RS),
        duty="DY-310000-RSJ-0005",
        requirements=(
            _requirement(1, *_ID_CARD),
            _requirement(2, "学历学位", "Degree", ("M3002",), freshnessDays=180),
            _requirement(3, "缴费证明", "Insurance payments", (INSURANCE,), freshnessDays=30),
            _requirement(4, "用人单位营业执照", "Licence of the employer", (LICENCE,)),
            _requirement(
                5,
                "结婚证",
                "Marriage certificate",
                (MARRIAGE,),
                condition=named("已婚", "where married"),
                **_CONDITIONAL,
            ),
            _requirement(6, "住所证明", "Proof of residence", ("M1003", LEASE)),
        ),
    )


def _money_and_building() -> Iterator[CatalogueEntry]:
    yield _matter(
        FUND,
        ("财政专项资金申领", "Claim of a public fund"),
        owner=people.SH_CZ,
        area="310115",
        agencies=(people.PD, people.QP, people.SH_CZ),
        duty="DY-310000-CZJ-0004",
        requirements=(
            _requirement(1, "营业执照", "Business licence", (LICENCE,)),
            _requirement(2, "发票", "Invoices", (INVOICE,), copies=20, consume=True, fund=FUND_CODE),
            _requirement(3, "缴费证明", "Insurance payments", (INSURANCE,), freshnessDays=30),
            _requirement(
                4,
                "环评批复",
                "EIA approval",
                (EIA,),
                condition=named("涉及建设", "where it builds"),
                **_CONDITIONAL,
            ),
        ),
    )
    yield _matter(
        BUILD,
        ("建设项目施工许可", "Building permit of a project"),
        owner=people.SH_GH,
        area="310118",
        agencies=(people.QP, people.PD, people.XH, people.SH_GH),
        duty="DY-310000-GHZY-0006",
        requirements=(
            _requirement(1, "建设单位营业执照", "Licence of the developer", (LICENCE,)),
            _requirement(2, "建设用地规划许可证", "Land-use planning permit", (LAND_PERMIT,)),
            _requirement(3, "环评批复", "EIA approval", (EIA,)),
            _requirement(4, "不动产权证书", "Real-estate title", ("M1003",)),
        ),
    )


# code, title, owner, purpose, matters, material types, status
_SCENARIOS = (
    (
        SCENARIO_OPEN,
        ("开办企业一次办", "Open a firm in one visit"),
        people.SH_SC,
        ("核验开办材料", "check the papers of an opening firm"),
        (OPEN_FIRM,),
        ("M1001", LICENCE, "M1003", LEASE),
        "live",
    ),
    (
        SCENARIO_BUILD,
        ("建设项目材料免交", "Project papers not asked for twice"),
        people.SH_GH,
        ("核验项目前期批文", "check earlier approvals of a project"),
        (BUILD,),
        (LICENCE, LAND_PERMIT, EIA, "M1003"),
        "live",
    ),
    (
        SCENARIO_RENT,
        ("租房提取免证明", "Rent withdrawal without proofs"),
        people.SH_GJ,
        ("核验租赁与缴费", "check lease and payments"),
        (RENT_WITHDRAWAL, TALENT, BIRTH),
        ("M1001", LICENCE, "M1003", MARRIAGE, INSURANCE, "M3002", LEASE),
        "live",
    ),
    (
        SCENARIO_FUND,
        ("财政专项资金免证明", "Public funds without proofs"),
        people.SH_CZ,
        ("防止一票多领", "stop an invoice from being paid twice"),
        (FUND,),
        (LICENCE, INVOICE, INSURANCE, EIA),
        "live",
    ),
    (
        SCENARIO_PILOT,
        ("跨省试点", "Pilot across provinces"),
        people.SH_DH,
        ("试点评估中", "pilot under review"),
        (OPEN_FIRM,),
        (LICENCE,),
        "suspended",
    ),
)


def _scenarios() -> Iterator[CatalogueEntry]:
    for code, title, owner, purpose, matters, material_types, status in _SCENARIOS:
        entry = {
            "title": named(*title),
            "owner": owner.uscc,
            "purpose": named(*purpose),
            "matters": list(matters),
            "materialTypes": list(material_types),
            "status": status,
            "legalBasis": named("政务数据共享条例(国令第809号)", "Order 809 of the State Council"),
            "risk": "medium",
            "period": {"from": "2023-03-14", "to": "2099-12-31"},
        }
        yield CatalogueEntry("scenario", code, entry)


def entries() -> tuple[CatalogueEntry, ...]:
    """Return all entries in the order of publication: what is named stands before what names it."""
    return (
        *_agencies(),
        *registers.duties(),
        *registers.standards(),
        *registers.datasets(),
        *registers.systems(),
        *_material_types(),
        *_matters(),
        *_scenarios(),
        *registers.links(),
    )
