"""What every `KeyValue` must do, as one suite, and the plainest implementation: a dictionary.

A test module makes a class of `KeyValueSuite` and gives it a `store` fixture.
"""

from collections.abc import Iterator, Sequence

import pytest

from anchor.keyvalue import Delete, KeyValue, Put


class MemoryKeyValue:
    """A `KeyValue` in a dictionary: for tests and as the model of others. Nothing of it is durable."""

    def __init__(self) -> None:
        """Start empty."""
        self._rows: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        return self._rows.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, or None."""
        return [self.get(key) for key in keys]

    def scan(
        self, prefix: bytes, *, start: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield rows of `prefix` in order, from a copy made now."""
        keys = sorted((key for key in self._rows if key.startswith(prefix)), reverse=reverse)
        if start:
            keys = [key for key in keys if (key <= start if reverse else key >= start)]
        return iter([(key, self._rows[key]) for key in keys])

    def write(self, ops: Sequence[Put | Delete], *, sync: bool) -> None:
        """Apply `ops` to a copy and keep that: an error in the middle changes nothing."""
        rows = dict(self._rows)
        for op in ops:
            if isinstance(op, Put):
                rows[op.key] = op.value
            else:
                rows.pop(op.key, None)
        self._rows = rows


class KeyValueSuite:
    """Inherit in a class named `Test…` with a `store` fixture that gives an empty `KeyValue`."""

    @pytest.fixture
    def filled(self, store: KeyValue) -> KeyValue:
        keys = (b"a", b"b", b"b\x00", b"ba", b"bb", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\x01")
        store.write([Put(key, b"v" + key) for key in keys], sync=False)
        return store

    def test_missing_key_has_no_value(self, store: KeyValue) -> None:
        assert store.get(b"nothing") is None

    def test_written_value_is_read_back(self, store: KeyValue) -> None:
        store.write([Put(b"k", b"v"), Put(b"empty", b"")], sync=True)
        assert (store.get(b"k"), store.get(b"empty")) == (b"v", b"")

    def test_many_keys_are_read_in_their_order(self, filled: KeyValue) -> None:
        assert filled.get_many([b"c", b"nothing", b"a", b"c"]) == [b"vc", None, b"va", b"vc"]
        assert filled.get_many([]) == []

    def test_deleted_key_has_no_value(self, store: KeyValue) -> None:
        store.write([Put(b"k", b"v")], sync=False)
        store.write([Delete(b"k"), Delete(b"never there")], sync=True)
        assert store.get(b"k") is None

    def test_later_operation_on_a_key_wins(self, store: KeyValue) -> None:
        store.write(
            [Put(b"k", b"1"), Delete(b"k"), Put(b"k", b"2"), Put(b"l", b"1"), Delete(b"l")], sync=False
        )
        assert (store.get(b"k"), store.get(b"l")) == (b"2", None)

    def test_empty_write_changes_nothing(self, filled: KeyValue) -> None:
        before = list(filled.scan(b""))
        filled.write([], sync=True)
        assert list(filled.scan(b"")) == before

    def test_scan_gives_the_prefix_in_byte_order(self, filled: KeyValue) -> None:
        found = [key for key, _ in filled.scan(b"b")]
        assert found == [b"b", b"b\x00", b"ba", b"bb", b"b\xff", b"b\xff\xff"]

    def test_scan_gives_values(self, filled: KeyValue) -> None:
        assert all(value == b"v" + key for key, value in filled.scan(b"b"))

    def test_scan_of_a_prefix_of_high_bytes_ends(self, filled: KeyValue) -> None:
        assert [key for key, _ in filled.scan(b"\xff")] == [b"\xff", b"\xff\x01"]
        assert [key for key, _ in filled.scan(b"b\xff")] == [b"b\xff", b"b\xff\xff"]

    def test_scan_of_an_unknown_prefix_is_empty(self, filled: KeyValue) -> None:
        assert list(filled.scan(b"bc")) == []
        assert list(filled.scan(b"bc", reverse=True)) == []

    def test_empty_prefix_gives_all(self, filled: KeyValue) -> None:
        assert [key for key, _ in filled.scan(b"")][0::9] == [b"a", b"\xff\x01"]

    def test_start_is_the_first_key_inclusive(self, filled: KeyValue) -> None:
        assert [key for key, _ in filled.scan(b"b", start=b"bb")] == [b"bb", b"b\xff", b"b\xff\xff"]
        assert [key for key, _ in filled.scan(b"b", start=b"baz")] == [b"bb", b"b\xff", b"b\xff\xff"]

    def test_reverse_goes_back_from_start_inclusive(self, filled: KeyValue) -> None:
        found = [key for key, _ in filled.scan(b"b", reverse=True)]
        assert found == [b"b\xff\xff", b"b\xff", b"bb", b"ba", b"b\x00", b"b"]
        assert [key for key, _ in filled.scan(b"b", start=b"ba", reverse=True)] == [b"ba", b"b\x00", b"b"]
        assert [key for key, _ in filled.scan(b"b", start=b"baz", reverse=True)] == [b"ba", b"b\x00", b"b"]

    def test_start_outside_the_prefix_bounds_nothing_or_all(self, filled: KeyValue) -> None:
        assert len(list(filled.scan(b"b", start=b"a"))) == 6
        assert list(filled.scan(b"b", start=b"c")) == []
        assert len(list(filled.scan(b"b", start=b"c", reverse=True))) == 6
        assert list(filled.scan(b"b", start=b"a", reverse=True)) == []

    def test_scan_sees_one_snapshot(self, filled: KeyValue) -> None:
        rows = filled.scan(b"b")
        filled.write([Delete(b"ba"), Put(b"bzz", b"new"), Put(b"bb", b"changed")], sync=False)
        found = dict(rows)
        assert (b"ba" in found, b"bzz" in found, found[b"bb"]) == (True, False, b"vbb")
