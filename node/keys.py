"""The node's secrets: a folder beside the store, opened by a passphrase. Page: docs/explanation/store.md.

    keys.json            root secrets, sealed under scrypt(passphrase)
    kek/<agency>.<n>     key epoch n of an agency, sealed under a root secret, or the word "erased"
    member.json          the member's chain key, a keystore of its own (anchor.signer)

The store's rows are sealed under a key from here, and file keys and salts are wrapped by an agency's key
epoch, so the database alone, or a backup of it, opens nothing; erasing an epoch makes all that it wrapped
unreadable. Each file is replaced in one step. Must not import the store's database or anything of HTTP.
"""

import base64
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from anchor.envelopes import RecipientKey
from node.errors import KeyErased, KeyFolderInvalid, PassphraseWrong, StoreDamaged
from node.store.envelope import KEY_BYTES, unwrap_key, wrap_key
from node.store.files import overwrite_file, replace_file, sync_folder

ROOT_FILE: Final = "keys.json"
KEK_FOLDER: Final = "kek"
KEYSTORE_FILE: Final = "member.json"
FORMAT: Final = "deltaseal-keys/1"
SCRYPT_N: Final = 2**15
_SCRYPT_N_RANGE: Final = (2**10, 2**20)
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_AGENCY: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_ERASED: Final = b"erased\n"
_SECRET_NAMES: Final = ("store", "lookup", "pepper", "recipient", "kek")


@dataclass(frozen=True, slots=True)
class _Secrets:
    """The root secrets, 32 bytes each."""

    store: bytes
    lookup: bytes
    pepper: bytes
    recipient: bytes
    kek: bytes


class KeyFolder:
    """An opened key folder; safe for many threads."""

    def __init__(self, path: Path, root: _Secrets) -> None:
        """Wrap opened secrets; use `create` or `open`."""
        self._path = path
        self._root = root
        self._recipient = RecipientKey.from_bytes(root.recipient)
        self._lock = threading.Lock()
        # An epoch without a key was erased.
        self._keks: dict[str, dict[int, bytes | None]] = {}
        self._load_keks()

    @classmethod
    def create(cls, path: Path, passphrase: str, *, scrypt_n: int = SCRYPT_N) -> Self:
        """Make a folder with fresh secrets, mode 0700. Raises KeyFolderInvalid if one is there already."""
        _require_passphrase(passphrase)
        with _file_errors(ROOT_FILE):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
            if (path / ROOT_FILE).exists():
                raise KeyFolderInvalid(
                    "the folder holds keys already; they are never overwritten",
                    hint="choose another folder",
                    file=ROOT_FILE,
                )
            (path / KEK_FOLDER).mkdir(mode=0o700, exist_ok=True)
            fresh = {name: secrets.token_bytes(KEY_BYTES) for name in _SECRET_NAMES}
            fresh["recipient"] = RecipientKey.generate().to_bytes()
            replace_file(path / ROOT_FILE, _render_root(_Secrets(**fresh), passphrase, scrypt_n))
            sync_folder(path.parent)
        return cls(path, _Secrets(**fresh))

    @classmethod
    def open(cls, path: Path, passphrase: str) -> Self:
        """Open an existing folder.

        Raises:
            KeyFolderInvalid: missing, altered, or open to other users of the machine.
            PassphraseWrong
        """
        _require_passphrase(passphrase)
        with _file_errors(ROOT_FILE):
            if path.stat().st_mode & 0o077:
                raise KeyFolderInvalid(
                    "the key folder is open to other users of this machine",
                    hint="run chmod 700 on the folder",
                    file=ROOT_FILE,
                )
            content = (path / ROOT_FILE).read_bytes()
        return cls(path, _open_root(content, passphrase))

    @property
    def keystore_path(self) -> Path:
        """Where the member's chain key lies (anchor.signer writes and reads it)."""
        return self._path / KEYSTORE_FILE

    def store_key(self) -> bytes:
        """Return the 32-byte key of `RowSeal`."""
        return self._root.store

    def lookup_key(self) -> bytes:
        """Return the 32-byte HMAC key of look-ups by subject and by content."""
        return self._root.lookup

    def pepper(self) -> bytes:
        """Return the 32-byte HMAC key under which secrets of API keys are hashed."""
        return self._root.pepper

    def recipient_key(self) -> RecipientKey:
        """Return the private key to which others seal envelopes for this node."""
        return self._recipient

    def kek(self, agency: str, epoch: int | None = None) -> tuple[int, bytes]:
        """Return (epoch, 32-byte key) of an agency: the newest, made now if there is none, or the one named.

        Raises:
            KeyErased: that epoch was erased.
            KeyFolderInvalid: there is no such epoch, or its file was altered.
        """
        with self._lock:
            epochs = self._keks.get(agency, {})
            if epoch is not None:
                return epoch, self._present(epochs, epoch)
            newest = max(epochs, default=0)
            key = epochs.get(newest)
            return (newest, key) if key is not None else self._add_epoch(agency)

    def epochs(self, agency: str) -> list[int]:
        """Return the epochs of an agency that are not erased, oldest first."""
        with self._lock:
            return sorted(epoch for epoch, key in self._keks.get(agency, {}).items() if key is not None)

    def rotate_kek(self, agency: str) -> int:
        """Begin a new epoch and return its number; what older ones wrapped stays readable."""
        with self._lock:
            return self._add_epoch(agency)[0]

    def erase_kek(self, agency: str, epoch: int) -> None:
        """Destroy a key epoch for good: overwritten in place and synced, then replaced by a tombstone.

        A file system that copies on write, or a backup, may still hold the old bytes: see
        docs/explanation/store.md. Erasing what is erased changes nothing. Raises KeyFolderInvalid.
        """
        with self._lock:
            epochs = self._keks.get(agency, {})
            if epoch not in epochs:
                raise _no_epoch(epoch)
            path = self._kek_path(agency, epoch)
            with _file_errors(KEK_FOLDER):
                overwrite_file(path)
                replace_file(path, _ERASED)
            epochs[epoch] = None

    def _add_epoch(self, agency: str) -> tuple[int, bytes]:
        epoch, key = max(self._keks.get(agency, {}), default=0) + 1, secrets.token_bytes(KEY_BYTES)
        path = self._kek_path(agency, epoch)
        with _file_errors(KEK_FOLDER):
            replace_file(path, wrap_key(self._root.kek, key, _kek_aad(agency, epoch)))
        self._keks.setdefault(agency, {})[epoch] = key
        return epoch, key

    def _kek_path(self, agency: str, epoch: int) -> Path:
        if not _AGENCY.fullmatch(agency):
            raise KeyFolderInvalid("an agency's code has 1 to 64 characters 0-9, A-Z, a-z, _ and -")
        return self._path / KEK_FOLDER / f"{agency}.{epoch}"

    def _present(self, epochs: dict[int, bytes | None], epoch: int) -> bytes:
        if epoch not in epochs:
            raise _no_epoch(epoch)
        key = epochs[epoch]
        if key is None:
            raise KeyErased(
                "this key epoch was erased; what it wrapped cannot be opened again",
                hint="the material is gone on purpose: see its tombstone",
                epoch=epoch,
            )
        return key

    def _load_keks(self) -> None:
        with _file_errors(KEK_FOLDER):
            names = sorted(entry.name for entry in (self._path / KEK_FOLDER).iterdir())
        for name in names:
            agency, _, number = name.rpartition(".")
            if number == "new":
                continue  # left by a crash before its rename: never the key of anything
            if not _AGENCY.fullmatch(agency) or not number.isdecimal():
                raise KeyFolderInvalid("the key folder holds a file that is not a key", file=KEK_FOLDER)
            self._keks.setdefault(agency, {})[int(number)] = self._load_kek(agency, int(number))

    def _load_kek(self, agency: str, epoch: int) -> bytes | None:
        with _file_errors(KEK_FOLDER):
            content = self._kek_path(agency, epoch).read_bytes()
        # All zero: erasing was interrupted between overwriting and the tombstone. An empty file is damage.
        if content == _ERASED or (len(content) > KEY_BYTES and not any(content)):
            return None
        try:
            return unwrap_key(self._root.kek, content, _kek_aad(agency, epoch))
        except StoreDamaged:
            raise KeyFolderInvalid(
                "a key epoch was altered or belongs to another node",
                hint="restore the key folder from a backup",
                file=KEK_FOLDER,
                epoch=epoch,
            ) from None


def _kek_aad(agency: str, epoch: int) -> bytes:
    return b"kek\x00" + agency.encode("ascii") + b"\x00" + epoch.to_bytes(8, "big")


def _render_root(root: _Secrets, passphrase: str, scrypt_n: int) -> bytes:
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    plaintext = b"".join(getattr(root, name) for name in _SECRET_NAMES)
    header = {"format": FORMAT, "kdf": "scrypt", "n": scrypt_n, "r": 8, "p": 1, "salt": _b64(salt)}
    sealed = AESGCM(_stretch(passphrase, salt, scrypt_n)).encrypt(nonce, plaintext, _aad(header))
    body = {**header, "nonce": _b64(nonce), "sealed": _b64(sealed)}
    return json.dumps({**body, "sha256": _checksum(body)}, indent=1).encode() + b"\n"


def _open_root(content: bytes, passphrase: str) -> _Secrets:
    header, salt, nonce, sealed = _parse_root(content)
    try:
        plaintext = AESGCM(_stretch(passphrase, salt, header["n"])).decrypt(nonce, sealed, _aad(header))
    except InvalidTag:
        raise PassphraseWrong(
            "the passphrase does not open the key folder", hint="check the passphrase file of this node"
        ) from None
    parts = [plaintext[at : at + KEY_BYTES] for at in range(0, len(plaintext), KEY_BYTES)]
    return _Secrets(*parts)


def _parse_root(content: bytes) -> tuple[dict[str, Any], bytes, bytes, bytes]:
    """Return header, salt, nonce, sealed; the checksum tells a damaged file from a wrong passphrase."""
    try:
        body = json.loads(content)
        checksum = body.pop("sha256")
        header = {name: body[name] for name in ("format", "kdf", "n", "r", "p", "salt")}
        salt, nonce, sealed = (
            base64.b64decode(body[name], validate=True) for name in ("salt", "nonce", "sealed")
        )
        low, high = _SCRYPT_N_RANGE
        known = (header["format"], header["kdf"], header["r"], header["p"]) == (FORMAT, "scrypt", 8, 1)
        sound = known and low <= header["n"] <= high and checksum == _checksum(body)
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound or len(sealed) != len(_SECRET_NAMES) * KEY_BYTES + 16:
        raise KeyFolderInvalid(
            "the file of root keys is damaged or of another format",
            hint="restore the key folder from a backup",
            file=ROOT_FILE,
        )
    return header, salt, nonce, sealed


def _stretch(passphrase: str, salt: bytes, scrypt_n: int) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=scrypt_n, r=8, p=1).derive(passphrase.encode("utf-8"))


def _aad(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True).encode()


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _require_passphrase(passphrase: str) -> None:
    if not passphrase or not passphrase.isprintable():
        raise KeyFolderInvalid(
            "a passphrase is one line of printable text", hint="write one into the passphrase file"
        )


def _no_epoch(epoch: int) -> KeyFolderInvalid:
    return KeyFolderInvalid("this agency has no key of that epoch", file=KEK_FOLDER, epoch=epoch)


@contextmanager
def _file_errors(file: str) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise KeyFolderInvalid(
            "the key folder is missing or cannot be read or written",
            hint="check that data_dir names the node's folder and who owns it",
            file=file,
        ) from None
