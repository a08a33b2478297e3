"""The key folder on disk: opened by its passphrase only, altered or erased keys never come back."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from anchor.envelopes import open_, seal
from node import keys
from node.errors import KeyErased, KeyFolderInvalid, NodeError, PassphraseWrong
from node.keys import KeyFolder

N = 2**10
AGENCY = "91310000MA1FL0000X"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    KeyFolder.create(tmp_path / "keys", "open sesame", scrypt_n=N)
    return tmp_path / "keys"


def test_keys_come_back_after_reopening(path: Path) -> None:
    one, two = (KeyFolder.open(path, "open sesame") for _ in range(2))
    assert one.store_key() == two.store_key()
    assert one.lookup_key() == two.lookup_key()
    assert one.pepper() == two.pepper()
    sealed = seal(one.recipient_key().public_bytes, info=b"i", plaintext=b"secret")
    assert open_(two.recipient_key(), info=b"i", sealed=sealed) == b"secret"
    secrets = [one.store_key(), one.lookup_key(), one.pepper(), one.recipient_key().to_bytes()]
    assert len(set(secrets)) == 4 and all(len(secret) == 32 for secret in secrets)


def test_two_folders_share_no_key(path: Path, tmp_path: Path) -> None:
    other = KeyFolder.create(tmp_path / "other", "open sesame", scrypt_n=N)
    assert other.store_key() != KeyFolder.open(path, "open sesame").store_key()


def test_wrong_passphrase_is_told_from_damage(path: Path) -> None:
    with pytest.raises(PassphraseWrong):
        KeyFolder.open(path, "open barley")
    for wrong in ("", "two\nlines"):
        with pytest.raises(KeyFolderInvalid):
            KeyFolder.open(path, wrong)


def test_no_secret_lies_readable_in_the_folder(path: Path) -> None:
    folder = KeyFolder.open(path, "open sesame")
    secrets = [folder.store_key(), folder.lookup_key(), folder.pepper(), folder.kek(AGENCY)[1]]
    content = b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())
    for secret in secrets:
        assert secret not in content and secret.hex().encode() not in content
    assert b"sesame" not in content


def test_folder_and_files_are_for_their_owner_only(path: Path) -> None:
    KeyFolder.open(path, "open sesame").kek(AGENCY)
    for entry in (path, *path.rglob("*")):
        assert entry.stat().st_mode & 0o077 == 0


def test_folder_open_to_others_is_refused(path: Path) -> None:
    path.chmod(0o750)
    with pytest.raises(KeyFolderInvalid):
        KeyFolder.open(path, "open sesame")


def test_existing_keys_are_never_overwritten(path: Path) -> None:
    before = (path / keys.ROOT_FILE).read_bytes()
    with pytest.raises(KeyFolderInvalid):
        KeyFolder.create(path, "another")
    assert (path / keys.ROOT_FILE).read_bytes() == before


def test_missing_folder_or_file_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyFolderInvalid):
        KeyFolder.open(tmp_path / "absent", "open sesame")
    shutil.rmtree(path / keys.KEK_FOLDER)
    with pytest.raises(KeyFolderInvalid):
        KeyFolder.open(path, "open sesame")
    (path / keys.ROOT_FILE).unlink()
    with pytest.raises(KeyFolderInvalid):
        KeyFolder.open(path, "open sesame")


def test_flipped_bit_in_the_root_file_never_opens(path: Path) -> None:
    root, chance = path / keys.ROOT_FILE, random.Random(5)
    whole = root.read_bytes()
    for _ in range(60):
        changed = bytearray(whole)
        changed[chance.randrange(len(changed) - 1)] ^= 1 << chance.randrange(8)
        root.write_bytes(changed)
        with pytest.raises(NodeError) as caught:
            KeyFolder.open(path, "open sesame")
        assert type(caught.value) is KeyFolderInvalid
    root.write_bytes(whole)
    KeyFolder.open(path, "open sesame")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"\xff", b'{"sha256": 1}', b'{"format": "deltaseal-keys/2"}']
)
def test_malformed_root_file_is_refused(path: Path, content: bytes) -> None:
    (path / keys.ROOT_FILE).write_bytes(content)
    with pytest.raises(KeyFolderInvalid):
        KeyFolder.open(path, "open sesame")


@pytest.mark.parametrize("n", [1, 2**9, 2**21, 2**40, -1, "32768"])
def test_absurd_cost_of_the_passphrase_is_refused(path: Path, n: object) -> None:
    root = path / keys.ROOT_FILE
    body = json.loads(root.read_bytes())
    body.pop("sha256")
    body["n"] = n
    root.write_text(json.dumps({**body, "sha256": keys._checksum(body)}))
    with pytest.raises(KeyFolderInvalid):
        KeyFolder.open(path, "open sesame")


def test_cost_is_stored_and_production_default_is_2_to_the_15(path: Path, tmp_path: Path) -> None:
    assert json.loads((path / keys.ROOT_FILE).read_bytes())["n"] == N
    KeyFolder.create(tmp_path / "default", "open sesame")
    assert json.loads((tmp_path / "default" / keys.ROOT_FILE).read_bytes())["n"] == 2**15
    KeyFolder.open(tmp_path / "default", "open sesame")


# ── key epochs ─────────────────────────────────────────────────────────────────────────────────────────


def test_first_use_makes_epoch_1_and_it_stays(path: Path) -> None:
    folder = KeyFolder.open(path, "open sesame")
    epoch, key = folder.kek(AGENCY)
    assert (epoch, len(key)) == (1, 32)
    assert (
        folder.kek(AGENCY)
        == folder.kek(AGENCY, 1)
        == KeyFolder.open(path, "open sesame").kek(AGENCY)
        == (1, key)
    )


def test_rotation_keeps_what_older_epochs_wrapped(path: Path) -> None:
    folder = KeyFolder.open(path, "open sesame")
    _, old = folder.kek(AGENCY)
    assert folder.rotate_kek(AGENCY) == 2
    reopened = KeyFolder.open(path, "open sesame")
    assert reopened.kek(AGENCY, 1) == (1, old)
    assert reopened.kek(AGENCY)[0] == 2 and reopened.kek(AGENCY)[1] != old
    assert reopened.epochs(AGENCY) == [1, 2]


def test_agencies_have_keys_of_their_own(path: Path) -> None:
    folder = KeyFolder.open(path, "open sesame")
    assert folder.kek("A")[1] != folder.kek("B")[1]
    kek = path / keys.KEK_FOLDER
    (kek / "A.1").rename(kek / "C.1")
    with pytest.raises(KeyFolderInvalid):
        KeyFolder.open(path, "open sesame")


def test_unknown_epoch_is_refused(path: Path) -> None:
    folder = KeyFolder.open(path, "open sesame")
    folder.kek(AGENCY)
    for call in (
        lambda: folder.kek(AGENCY, 2),
        lambda: folder.erase_kek(AGENCY, 2),
        lambda: folder.kek("none", 1),
    ):
        with pytest.raises(KeyFolderInvalid):
            call()


def test_erased_epoch_never_comes_back_and_the_next_use_makes_a_new_one(path: Path) -> None:
    folder = KeyFolder.open(path, "open sesame")
    folder.kek(AGENCY)
    sealed = (path / keys.KEK_FOLDER / f"{AGENCY}.1").read_bytes()
    folder.erase_kek(AGENCY, 1)
    folder.erase_kek(AGENCY, 1)
    for opened in (folder, KeyFolder.open(path, "open sesame")):
        with pytest.raises(KeyErased) as caught:
            opened.kek(AGENCY, 1)
        assert caught.value.facts == {"epoch": 1}
        assert opened.epochs(AGENCY) in ([], [2])
        assert opened.kek(AGENCY)[0] == 2
    assert not any(sealed in file.read_bytes() for file in path.rglob("*") if file.is_file())


def test_sealed_key_is_overwritten_in_place_before_its_name_goes(path: Path) -> None:
    folder = KeyFolder.open(path, "open sesame")
    folder.kek(AGENCY)
    file = path / keys.KEK_FOLDER / f"{AGENCY}.1"
    descriptor = os.open(file, os.O_RDONLY)  # keeps the old inode readable after its name has moved on
    try:
        size = os.fstat(descriptor).st_size
        folder.erase_kek(AGENCY, 1)
        assert os.pread(descriptor, size, 0) == bytes(size)
    finally:
        os.close(descriptor)


def test_erasing_that_was_interrupted_counts_as_erased(path: Path) -> None:
    folder = KeyFolder.open(path, "open sesame")
    folder.kek(AGENCY)
    file = path / keys.KEK_FOLDER / f"{AGENCY}.1"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(KeyErased):
        KeyFolder.open(path, "open sesame").kek(AGENCY, 1)


def test_draft_that_a_crash_left_is_no_key(path: Path) -> None:
    KeyFolder.open(path, "open sesame").kek(AGENCY)
    (path / keys.KEK_FOLDER / f"{AGENCY}.2.new").write_bytes(b"half")
    assert KeyFolder.open(path, "open sesame").kek(AGENCY)[0] == 1


@pytest.mark.parametrize("name", ["README", "A.x", "A.-1", ".1", "a b.1"])
def test_foreign_file_among_the_keys_is_refused(path: Path, name: str) -> None:
    (path / keys.KEK_FOLDER / name).write_bytes(b"x")
    with pytest.raises(KeyFolderInvalid):
        KeyFolder.open(path, "open sesame")


def test_altered_key_epoch_is_refused(path: Path) -> None:
    KeyFolder.open(path, "open sesame").kek(AGENCY)
    file = path / keys.KEK_FOLDER / f"{AGENCY}.1"
    whole = file.read_bytes()
    for content in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"x"):
        file.write_bytes(content)
        with pytest.raises(KeyFolderInvalid):
            KeyFolder.open(path, "open sesame")


@pytest.mark.parametrize("agency", ["", "../x", "a/b", "a.b", "a" * 65, "ü"])
def test_agency_code_that_could_leave_the_folder_is_refused(path: Path, agency: str) -> None:
    with pytest.raises(KeyFolderInvalid):
        KeyFolder.open(path, "open sesame").kek(agency)


def test_keystore_of_the_member_lies_beside(path: Path) -> None:
    assert KeyFolder.open(path, "open sesame").keystore_path == path / "member.json"
