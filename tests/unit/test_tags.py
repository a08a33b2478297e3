"""Tags and masks: who can link what."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.canonical import canonical_bytes
from anchor.commitments import Commitment
from anchor.errors import KeyMaterialInvalid, ValueNotCanonical
from anchor.tags import ZERO_TAG, _canonical, derive_consume_key, derive_domain_keys

SECRET = bytes(range(32))
KEYS = derive_domain_keys(1, 1, SECRET)
COMMITMENT = Commitment(bytes(reversed(range(32))))


def test_one_subject_has_unlinkable_tags_under_two_types() -> None:
    tags = {KEYS.subject_tag("111", "310101199001010010", each) for each in ("LICENCE", "LEASE", "INVOICE")}
    assert len(tags) == 3


def test_every_part_of_a_subject_counts() -> None:
    base = ("111", "310101199001010010", "LICENCE")
    others = [("001", *base[1:]), (base[0], "310101199001010029", base[2]), (*base[:2], "LEASE")]
    # Moving a character between neighbours must not give the same tag: JCS keeps the parts apart.
    others.append(("1113", "10101199001010010", "LICENCE"))
    assert KEYS.subject_tag(*base) not in {KEYS.subject_tag(*other) for other in others}


def test_kinds_of_tags_never_coincide() -> None:
    digest = bytes(32)
    tags = [
        KEYS.content_tag(digest),
        KEYS.material_tag(Commitment(digest)),
        KEYS.case_tag(digest.hex()),
        KEYS.party_tag(digest.hex()),
    ]
    assert len({*tags, ZERO_TAG}) == 5


@pytest.mark.parametrize(("domain", "epoch", "secret"), [(2, 1, SECRET), (1, 2, SECRET), (1, 1, bytes(32))])
def test_other_keys_give_other_tags_and_masks(domain: int, epoch: int, secret: bytes) -> None:
    other = derive_domain_keys(domain, epoch, secret)
    assert other.case_tag("x") != KEYS.case_tag("x")
    assert other.mask(COMMITMENT, 0, bytes(58)) != KEYS.mask(COMMITMENT, 0, bytes(58))


def test_tag_and_mask_keys_differ() -> None:
    assert KEYS.tag_key != KEYS.mask_key
    assert derive_consume_key(1, SECRET).key not in (KEYS.tag_key, KEYS.mask_key)


def test_mask_is_its_own_inverse() -> None:
    body = bytes(range(58))
    masked = KEYS.mask(COMMITMENT, 9, body)
    assert masked != body
    assert KEYS.mask(COMMITMENT, 9, masked) == body


def test_no_two_lines_of_a_commitment_share_a_mask() -> None:
    assert len({KEYS.mask(COMMITMENT, line, bytes(58)) for line in range(256)}) == 256


def test_nullifier_is_one_for_a_document_and_fund() -> None:
    key = derive_consume_key(1, SECRET)
    spent = key.nullifier("INVOICE", "26310000000000000001", "NURSERY")
    assert spent == derive_consume_key(1, SECRET).nullifier("INVOICE", "26310000000000000001", "NURSERY")
    assert len(spent) == 32
    assert spent != key.nullifier("INVOICE", "26310000000000000001", "HOUSING")
    assert spent != derive_consume_key(2, SECRET).nullifier("INVOICE", "26310000000000000001", "NURSERY")


def test_keys_are_not_shown_by_repr_and_cannot_be_changed() -> None:
    shown = repr(KEYS) + repr(derive_consume_key(1, SECRET))
    assert "domain=1" in shown
    assert "key=" not in shown
    with pytest.raises(FrozenInstanceError):
        KEYS.epoch = 2  # type: ignore[misc]


def test_refusal_names_numbers_but_no_secret() -> None:
    with pytest.raises(KeyMaterialInvalid) as caught:
        derive_domain_keys(1, 1, SECRET[:5])
    assert caught.value.facts == {"got": 5}


@given(st.text(max_size=12) | st.lists(st.text(max_size=8) | st.text('AZaz09-/" \\', max_size=8), max_size=3))
def test_plain_text_is_written_as_the_encoder_writes_it(value: str | list[str]) -> None:
    try:
        expected = canonical_bytes(value)
    except ValueNotCanonical:
        with pytest.raises(ValueNotCanonical):
            _canonical(value)
    else:
        assert _canonical(value) == expected
