"""The registers of the demonstration that no decision reads: duties, datasets, systems, standards and links.

They are anchored and shown, and say why an agency may ask at all. Demonstration values and no law.
Shapes: docs/reference/catalog-entry.md. Imports only `cli.demo`.
"""

from collections.abc import Iterator

from cli.demo import people
from cli.demo.entry import CatalogueEntry, Entry, named

_FROM = "2023-03-14"

# code, owner, name, article of its charter, matters
_DUTIES = (
    (
        "DY-310000-SCJG-0007",
        people.SH_SC,
        ("市场主体登记管理", "Registration of firms"),
        "4(1)",
        ("990110100100",),
    ),
    (
        "DY-310000-GJJ-0003",
        people.SH_GJ,
        ("公积金提取审核", "Provident-fund withdrawals"),
        "3(2)",
        ("990120200100",),
    ),
    ("DY-310000-GAJ-0002", people.SH_GA, ("户籍管理", "Household registration"), "5(1)", ("990130300100",)),
    ("DY-310000-RSJ-0005", people.SH_RS, ("人才引进", "Recruitment of talent"), "4(6)", ("990140400100",)),
    ("DY-310000-CZJ-0004", people.SH_CZ, ("专项资金管理", "Public funds"), "3(5)", ("990150500100",)),
    (
        "DY-310000-GHZY-0006",
        people.SH_GH,
        ("建设项目规划许可", "Planning permits"),
        "4(3)",
        ("990160600100",),
    ),
)


def duties() -> Iterator[CatalogueEntry]:
    """Yield what the organs are charged with."""
    for code, agency, name, article, matters in _DUTIES:
        entry = {
            "agencyId": agency.uscc,
            "name": named(*name),
            "basis": {
                "title": named("职能配置、内设机构和人员编制规定(演示)", "Charter of the organ (demo)"),
                "article": article,
            },
            "level": "city",
            "matterCodes": list(matters),
            "effectiveFrom": _FROM,
        }
        yield CatalogueEntry("duty", code, entry)


# code, provider, title, share class, level, system, duty, condition or legal basis
_DATASETS = (
    (
        "3070001/0001",
        people.SH_SC,
        ("市场主体登记信息", "Register of firms"),
        "1",
        "L1",
        "IS-310000-0001",
        "DY-310000-SCJG-0007",
        None,
    ),
    (
        "3070001/0012",
        people.SH_GJ,
        ("公积金缴存明细", "Provident-fund payments"),
        "2",
        "L3",
        "IS-310000-0002",
        "DY-310000-GJJ-0003",
        ("办理提取事项", "for a withdrawal"),
    ),
    (
        "3070002/0003",
        people.SH_RS,
        ("社会保险缴费信息", "Social-insurance payments"),
        "2",
        "L3",
        "IS-310000-0002",
        "DY-310000-RSJ-0005",
        ("办理核验事项", "for a check in a matter"),
    ),
    (
        "3070003/0009",
        people.SH_GA,
        ("涉案线索", "Leads of investigations"),
        "3",
        "L4",
        "IS-310000-0002",
        "DY-310000-GAJ-0002",
        ("侦查工作规定(演示)", "Rules on investigations (demo)"),
    ),
)


def datasets() -> Iterator[CatalogueEntry]:
    """Yield information resources of each share class; class 3 shows a refusal."""
    for code, provider, title, share, level, system, duty, reason in _DATASETS:
        entry: Entry = {
            "title": named(*title),
            "abstract": named(f"{title[0]}(演示)", f"{title[1]} (demo)"),
            "providerId": provider.uscc,
            "classCode": code.partition("/")[0],
            "format": "table",
            "items": [_party_item(level)],
            "shareType": share,
            "shareMode": "api",
            "updateCycle": "daily",
            "publishedOn": _FROM,
            "systemCode": system,
            "dutyCodes": [duty],
            "securityLevel": level,
        }
        if reason is not None:
            entry["shareCondition" if share == "2" else "legalBasis"] = named(*reason)
        yield CatalogueEntry("dataset", code, entry)


def _party_item(level: str) -> Entry:
    return {
        "name": "tyshxydm",
        "label": named("统一社会信用代码", "Unified social credit code"),
        "type": "code",
        "length": 18,
        "nullable": False,
        "sensitive": level in ("L3", "L4"),
        "level": level,
        "standardCode": "DS-GB32100",
    }


def systems() -> Iterator[CatalogueEntry]:
    """Yield the systems that hold the datasets, and a district's window system."""
    for code, owner, name, held in (
        ("IS-310000-0001", people.SH_SC, ("市场主体登记系统", "Firm registration system"), ["3070001/0001"]),
        (
            "IS-310000-0002",
            people.SH_DH,
            ("市数据共享平台", "City data-sharing platform"),
            ["3070001/0012", "3070002/0003", "3070003/0009"],
        ),
        ("IS-310104-0003", people.XH, ("徐汇综窗系统", "Xuhui window system"), []),
    ):
        entry = {
            "name": named(f"{name[0]}(演示)", f"{name[1]} (demo)"),
            "ownerId": owner.uscc,
            "protectionLevel": 3,
            "cryptoReview": {"passed": True, "date": "2025-06-30", "level": 3},
            "goLive": _FROM,
            "lifecycle": "running",
            "datasets": held,
        }
        yield CatalogueEntry("system", code, entry)


def standards() -> Iterator[CatalogueEntry]:
    """Yield data standards: two formats and a code list."""
    for code, title, kind, body, level in (
        (
            "DS-GB32100",
            ("统一社会信用代码", "Unified social credit code"),
            "format",
            {"type": "string", "pattern": "^[0-9A-HJ-NP-RTUW-Y]{18}$"},
            "national",
        ),
        (
            "DS-GB11643",
            ("公民身份号码", "Citizen identification number"),
            "format",
            {"type": "string", "pattern": "^[1-9][0-9]{16}[0-9X]$"},
            "national",
        ),
        (
            "DS-GXLX",
            ("共享类型", "Share class"),
            "codelist",
            {"1": "无条件共享", "2": "有条件共享", "3": "不予共享"},
            "local",
        ),
    ):
        entry = {"title": named(*title), "kind": kind, "body": body, "level": level, "effectiveFrom": _FROM}
        yield CatalogueEntry("standard", code, entry)


def links() -> Iterator[CatalogueEntry]:
    """Yield typed edges from the duties, systems and datasets above; matters point to their duty."""
    edges = [
        *(("matter_performs_duty", matter, duty[0]) for duty in _DUTIES for matter in duty[4]),
        *(("duty_produces_dataset", row[6], row[0]) for row in _DATASETS),
        *(("system_holds_dataset", row[5], row[0]) for row in _DATASETS),
        *(("dataset_conforms_standard", row[0], "DS-GB32100") for row in _DATASETS),
    ]
    for number, (kind, start, end) in enumerate(edges, start=1):
        entry = {"from": start, "to": end, "kind": kind, "fromVersion": 1, "toVersion": 1}
        yield CatalogueEntry("link", f"LK-310000-{number:04d}", entry)
