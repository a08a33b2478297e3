"""Who appears in the demonstration: agencies, members, persons, firms and projects, all fictional.

Every display name says so (演示). Organisation codes pass GB 32100-2015 and GB 11714, but their body is
`FAKE…`, which keeps them off real registers; persons are "born" in 1850, which no holder of an 18-digit
number can be. Imports nothing of the project: these are plain values.
"""

from dataclasses import dataclass
from typing import Literal

Role = Literal["window", "issuer", "owner", "archive"]
Level = Literal["city", "district", "partner"]


@dataclass(frozen=True, slots=True)
class Agency:
    """An organ with an 18-character code (`uscc`), hosted by the consortium member `member_id`."""

    key: str
    uscc: str
    zh: str
    en: str
    area: str
    level: Level
    member_id: int
    role: Role


@dataclass(frozen=True, slots=True)
class Member:
    """A node's organisation on the chain; `agencies` are hosted by its node, the first one is its own."""

    member_id: int
    key: str
    agencies: tuple[Agency, ...]

    @property
    def own(self) -> Agency:
        """Return the agency that runs the node."""
        return self.agencies[0]


@dataclass(frozen=True, slots=True)
class Party:
    """A subject of materials: `id_type` 001 organisation, 111 citizen, 900 project."""

    id_type: Literal["001", "111", "900"]
    id: str
    zh: str
    en: str

    def as_subject(self, role: str | None = None) -> dict[str, str]:
        """Render the subject as the HTTP API takes it, with `role` where the party plays one."""
        subject = {"idType": self.id_type, "id": self.id}
        return subject if role is None else {**subject, "role": role}


HUB_MEMBER, XH_MEMBER, PD_MEMBER, QP_MEMBER, WJ_MEMBER, JS_MEMBER = range(1, 7)

SH_DH = Agency(
    "SH-DH",
    "11310000FAKE000137",
    "市数据枢纽局(演示)",
    "City data hub (demo)",
    "310000",
    "city",
    HUB_MEMBER,
    "owner",
)
SH_SC = Agency(
    "SH-SC",
    "11310000FAKE000212",
    "市市场监管局(演示)",
    "City market regulator (demo)",
    "310000",
    "city",
    XH_MEMBER,
    "issuer",
)
SH_GA = Agency(
    "SH-GA",
    "11310000FAKE0003XR",
    "市公安局(演示)",
    "City police (demo)",
    "310000",
    "city",
    XH_MEMBER,
    "issuer",
)
SH_GH = Agency(
    "SH-GH",
    "11310000FAKE00048R",
    "市规划资源局(演示)",
    "City planning bureau (demo)",
    "310000",
    "city",
    QP_MEMBER,
    "issuer",
)
SH_GJ = Agency(
    "SH-GJ",
    "12310000FAKE00056H",
    "市公积金中心(演示)",
    "City provident fund (demo)",
    "310000",
    "city",
    QP_MEMBER,
    "owner",
)
SH_CZ = Agency(
    "SH-CZ",
    "11310000FAKE00064F",
    "市财政局(演示)",
    "City treasury (demo)",
    "310000",
    "city",
    PD_MEMBER,
    "owner",
)
SH_RS = Agency(
    "SH-RS",
    "11310000FAKE00072A",
    "市人社局(演示)",
    "City social insurance (demo)",
    "310000",
    "city",
    XH_MEMBER,
    "issuer",
)
SH_DA = Agency(
    "SH-DA",
    "12310000FAKE000802",
    "市档案馆(演示)",
    "City archive (demo)",
    "310000",
    "city",
    HUB_MEMBER,
    "archive",
)
XH = Agency(
    "XH",
    "12310104FAKE0011X9",
    "徐汇区政务服务中心(演示)",
    "Xuhui service centre (demo)",
    "310104",
    "district",
    XH_MEMBER,
    "window",
)
PD = Agency(
    "PD",
    "12310115FAKE001287",
    "浦东新区政务服务中心(演示)",
    "Pudong service centre (demo)",
    "310115",
    "district",
    PD_MEMBER,
    "window",
)
QP = Agency(
    "QP",
    "12310118FAKE00136D",
    "青浦区政务服务中心(演示)",
    "Qingpu service centre (demo)",
    "310118",
    "district",
    QP_MEMBER,
    "window",
)
WJ = Agency(
    "WJ",
    "12320509FAKE00216Q",
    "苏州市吴江区政务服务中心(演示)",
    "Wujiang service centre (demo)",
    "320509",
    "partner",
    WJ_MEMBER,
    "window",
)
JS = Agency(
    "JS",
    "12330421FAKE00224X",
    "嘉兴市嘉善县政务服务中心(演示)",
    "Jiashan service centre (demo)",
    "330421",
    "partner",
    JS_MEMBER,
    "window",
)
AGENCIES = (SH_DH, SH_SC, SH_GA, SH_GH, SH_GJ, SH_CZ, SH_RS, SH_DA, XH, PD, QP, WJ, JS)

#: The members that run a node in the demonstration. The hub is the council; the two partners join later.
XH_NODE = Member(XH_MEMBER, "XH", (XH, SH_SC, SH_GA, SH_RS))
PD_NODE = Member(PD_MEMBER, "PD", (PD, SH_CZ))
QP_NODE = Member(QP_MEMBER, "QP", (QP, SH_GH, SH_GJ))
MEMBERS = (XH_NODE, PD_NODE, QP_NODE)

FIRM_SHENQIAO = Party("001", "91310104FAKE01016E", "申桥精密科技(演示)有限公司", "Shenqiao Precision (demo)")
FIRM_FENHU = Party("001", "91320509FAKE01024A", "汾湖新材(演示)有限公司", "Fenhu Materials (demo)")
FIRM_PUJIANG = Party("001", "91310115FAKE010322", "浦江仪器(演示)有限公司", "Pujiang Instruments (demo)")
FIRMS = (FIRM_SHENQIAO, FIRM_FENHU, FIRM_PUJIANG)

PEOPLE = tuple(
    Party("111", number, f"演示{stem}", f"Demo person {letter}")
    for number, stem, letter in (
        ("310104185001010014", "甲", "A"),
        ("310104185001010022", "乙", "B"),
        ("310104185001010030", "丙", "C"),
        ("310104185001010049", "丁", "D"),
        ("310104185001010057", "戊", "E"),
        ("310104185001010065", "己", "F"),
    )
)

PROJECT_QP = Party("900", "2406-310118-04-01-100001", "青浦示范产业园(演示)", "Qingpu industrial park (demo)")
PROJECT_PD = Party("900", "2406-310115-04-01-100001", "浦东示范实验楼(演示)", "Pudong laboratory (demo)")
PROJECTS = (PROJECT_QP, PROJECT_PD)


def file_project(number: int) -> Party:
    """Return the project that stands for the `number`-th file of a user's folder (0-based, < 800,000).

    One subject per file makes each file findable by itself, as a permit of a project is.
    """
    return Party(
        "900",
        f"2501-310115-04-01-{200_000 + number:06d}",
        f"文件{number + 1}(演示)",
        f"File {number + 1} (demo)",
    )
