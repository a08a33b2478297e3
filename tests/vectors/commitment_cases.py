"""Vectors of commitments and openings (docs/reference/commitment.md)."""

from collections.abc import Callable, Iterator

from tests.unit import receipt_factory as made
from tests.vectors.common import Asked
from tests.vectors.operations import Json, _commit, h

FIELDS: Json = {
    "documentNo": "DEMO-0001",
    "expiresOn": None,
    "sizeBytes": 183204,
    "subjects": [{"idType": "001", "id": "91310115MA1K30000X"}],
    "title": "营业执照（演示）",
    "typeCode": "LICENCE",
    "version": 1,
}
SALT_KEY = h(made.SALT_KEY)


def commitment_accepts() -> Iterator[Asked]:
    """Commitments to one field and more, opened in part and in whole."""

    def ask(name: str, fields: Json, *opened: str) -> Asked:
        return name, "commitment.commit", {"fields": fields, "saltKey": SALT_KEY, "open": list(opened)}

    yield ask("one field", {"a": 1}, "a")
    yield ask("two fields, one opened", {"a": 1, "b": 2}, "b")
    yield ask("upper case sorts before lower case", {"b": 1, "B": 2, "a": 3}, "B")
    yield ask("seven fields, first", FIELDS, "documentNo")
    yield ask("seven fields, last", FIELDS, "version")
    yield ask("seven fields, three apart", FIELDS, "documentNo", "subjects", "version")
    yield ask("seven fields, all", FIELDS, *FIELDS)
    yield ask("null, empty list, empty object, true", {"a": None, "b": [], "c": {}, "d": True}, "a", "d")
    yield ask("the longest name", {"a" * 64: "x", "b": 1}, "a" * 64)
    yield ask("64 fields", {f"f{each}": each for each in range(64)}, "f0", "f63", "f31")
    opened = commitment_of("seven fields, three apart")
    yield "three fields open to the commitment", "commitment.open", opened


def commitment_of(_name: str) -> Json:
    """Give commitment and opening of three of the seven fields."""
    asked = {"fields": FIELDS, "saltKey": SALT_KEY, "open": ["documentNo", "subjects", "version"]}
    return _commit(asked)


def commitment_rejects() -> Iterator[Asked]:
    """Fields that cannot be committed to, and openings that do not hold."""

    def fields(name: str, value: Json, opened: str = "a", salt_key: str = SALT_KEY) -> Asked:
        return name, "commitment.commit", {"fields": value, "saltKey": salt_key, "open": [opened]}

    yield fields("no field", {})
    yield fields("65 fields", {f"a{each}": each for each in range(65)}, "a0")
    yield fields("name with a dash", {"a-b": 1}, "a-b")
    yield fields("name that starts with a digit", {"1a": 1}, "1a")
    yield fields("name outside ASCII", {"é": 1}, "é")
    yield fields("name of 65 bytes", {"a" * 65: 1}, "a" * 65)
    yield fields("value of more than 16 KiB", {"a": "x" * (16 << 10)})
    yield fields("value with a float", {"a": 0.5})
    yield fields("value of 2^53", {"a": 2**53})
    yield fields("value not in NFC", {"a": "A\u030a"})
    yield fields("opened name that is not there", {"a": 1}, "b")
    yield fields("short salt key", {"a": 1}, "a", SALT_KEY[2:])
    yield from broken_openings()


def broken_openings() -> Iterator[Asked]:
    """Openings of three of seven fields, each broken in one way."""

    def ask(name: str, change: Callable[[Json], None]) -> Asked:
        opened = commitment_of("seven fields, three apart")
        change(opened["opening"])
        return name, "commitment.open", opened

    def at(nth: int, **members: Json) -> Callable[[Json], None]:
        return lambda opening: opening["opened"][nth].update(members)

    yield ask("another value", at(0, value="DEMO-0002"))
    yield ask("another name", at(1, name="subjectz"))
    yield ask("another salt", at(0, salt="A" * 43))
    yield ask("another hidden hash", lambda opening: opening["hidden"].__setitem__(0, "A" * 43))
    yield ask("hidden hashes swapped", lambda opening: opening["hidden"].reverse())
    yield ask("fewer hidden hashes", lambda opening: opening["hidden"].pop())
    yield ask("more hidden hashes", lambda opening: opening["hidden"].append("A" * 43))
    yield ask("short hidden hash", lambda opening: opening["hidden"].__setitem__(0, "A" * 42))
    yield ask("nothing opened", lambda opening: opening["opened"].clear())
    yield ask("opened fields swapped", lambda opening: opening["opened"].reverse())
    yield ask("the same field twice", lambda opening: opening["opened"].insert(0, opening["opened"][0]))
    yield ask("index outside the tree", at(2, index=7))
    yield ask("negative index", at(0, index=-1))
    yield ask("index that is true", at(1, index=True))
    yield ask("leaf count 0", lambda opening: opening.update(leafCount=0))
    yield ask("leaf count 65", lambda opening: opening.update(leafCount=65))
    yield ask("unknown member", lambda opening: opening.update(more=1))
    yield ask("missing member", lambda opening: opening.pop("hidden"))
    yield ask("unknown member of a field", at(0, more=1))
    yield ask("name that is a number", at(0, name=1))
    yield ask("padded salt", lambda opening: opening["opened"][0].update(salt="A" * 43 + "="))
    yield ask("spare bits set in a salt", at(0, salt="A" * 42 + "B"))
    yield ask("opened is an object", lambda opening: opening.update(opened={}))
