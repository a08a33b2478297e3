"""The contract of `KeyValue`, run against the dictionary that other tests use as a model."""

import pytest

from anchor.keyvalue import KeyValue
from tests.unit.keyvalue_suite import KeyValueSuite, MemoryKeyValue


class TestMemoryKeyValue(KeyValueSuite):
    @pytest.fixture
    def store(self) -> KeyValue:
        return MemoryKeyValue()
