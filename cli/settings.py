"""Settings of the command line: one table, one order of precedence, and where each value came from.

Flag > `DELTASEAL_<NAME>` > the nearest `deltaseal.toml` upwards that has a `[cli]` table > the user's
`config.toml` > the system's > default. Files keep the settings in `[cli]`; `[cli.profiles.<name>]` wins over
it within the same file. Secrets are files or prompts, never values: see `read_secret`. Must not import httpx
or typer. Spec page: docs/reference/settings.md.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from getpass import getpass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from cli.errors import KeyNotForAddress, SecretRefused, SettingInvalid, SettingMissing

PROJECT_FILE = "deltaseal.toml"
ENV_PREFIX = "DELTASEAL_"
API_KEY_PATTERN = re.compile(r"dsk_[0-9A-Za-z]+_[0-9A-Za-z_-]+")
# Names that someone might write a secret under; each is refused wherever it stands.
SECRET_NAMES = ("api_key", "passphrase", "council_key", "council_passphrase")
_SECRET_LIMIT_BYTES = 4096


class Kind(StrEnum):
    """What a setting's text must be."""

    TEXT = "text"
    PATH = "path"
    INTEGER = "integer"
    SECONDS = "seconds"
    CHOICE = "choice"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    kind: Kind
    default: str | int | float | None
    help: str
    choices: tuple[str, ...] = ()

    @property
    def env(self) -> str:
        """The environment variable of this setting."""
        return ENV_PREFIX + self.name.upper()


OUTPUT_FORMATS = ("table", "json", "jsonl", "csv", "id")

SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("url", Kind.TEXT, "http://127.0.0.1:8400", "address of the node"),
        Setting(
            "api_key_file", Kind.PATH, None, "file that holds the API key; without it the key is asked for"
        ),
        Setting("profile", Kind.TEXT, None, "name of a [cli.profiles.<name>] table to use"),
        Setting("output", Kind.CHOICE, "table", "form of results", OUTPUT_FORMATS),
        Setting("lang", Kind.CHOICE, "auto", "language of results; auto goes by LANG", ("auto", "zh", "en")),
        Setting("timeout", Kind.SECONDS, 30.0, "seconds the node may stay silent"),
        Setting("parallel", Kind.INTEGER, 4, "files that `push` and `hash` work on at once (1 to 64)"),
        Setting("state_dir", Kind.PATH, None, "folder of push journals; default: the user's state folder"),
        Setting(
            "ca_file",
            Kind.PATH,
            None,
            "PEM file of the authorities trusted for https; default: the usual ones",
        ),
        Setting("trust_file", Kind.PATH, None, "JSON file naming the chain that receipts must come from"),
        Setting("data_dir", Kind.PATH, None, "data folder of a node on this machine"),
        Setting("chain_folder", Kind.PATH, None, "folder of the embedded chain on this machine"),
        Setting("chain_rpc", Kind.TEXT, None, "JSON-RPC address of the chain"),
        Setting("chain_id", Kind.INTEGER, 310000, "id of the chain"),
        Setting("directory", Kind.ADDRESS, None, "address of the Directory contract"),
        Setting("council_key_file", Kind.PATH, None, "keystore file of the council's chain key"),
        Setting(
            "council_passphrase_file",
            Kind.PATH,
            None,
            "file with its passphrase; without it, it is asked for",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One value somebody gave: `source` is flag, environment, project, user, system or default."""

    source: str
    place: str
    value: str | int | float | None


@dataclass(frozen=True, slots=True)
class _File:
    source: str
    path: Path
    table: Mapping[str, Any]
    profiles: Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Settings:
    """All candidates of all settings, resolved on demand."""

    flags: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = field(default_factory=Path.cwd)
    files: Sequence[_File] = ()

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user_file: Path | None = None,
        system_file: Path | None = None,
    ) -> Settings:
        """Read the three files and refuse secrets; nothing is resolved yet.

        Raises:
            SettingInvalid: a file that is not TOML, or an unknown name in it.
            SecretRefused: a secret in a file or in the environment.
        """
        env = os.environ if env is None else env
        cwd = cwd or Path.cwd()
        _refuse_secret_variables(env)
        places = settings_files(cwd, user_file=user_file, system_file=system_file)
        files = [loaded for source, path in places if (loaded := _load_file(source, path)) is not None]
        return cls(flags=dict(flags or {}), env=env, cwd=cwd, files=files)

    def candidates(self, name: str) -> list[Candidate]:
        """List every value given for `name`, the one that counts first; the default is always last.

        Raises:
            SettingInvalid: one of them is refused, even if another would win: it would bite later.
        """
        return list(self._candidates(SETTINGS[name]))

    def get(self, name: str) -> Any:
        """Return the value that counts: str, int, float, or None where nobody gave one.

        Raises:
            SettingInvalid: a value given for it is refused.
        """
        return self.candidates(name)[0].value

    def require(self, name: str, *, why: str) -> Any:
        """Return the value that counts.

        Raises:
            SettingMissing: nobody gave one.
        """
        value = self.get(name)
        if value is None:
            flag = "--" + name.replace("_", "-")
            raise SettingMissing(
                f"{why} needs the setting {name}",
                hint=f"give {flag}, set {SETTINGS[name].env}, or see `config explain {name}`",
            )
        return value

    def language(self) -> str:
        """Return `zh` or `en`; `auto` goes by LC_ALL, LC_MESSAGES and LANG, as programs do."""
        chosen = str(self.get("lang"))
        if chosen != "auto":
            return chosen
        locale = next(
            (self.env[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if self.env.get(name)), ""
        )
        return "zh" if locale.lower().startswith("zh") else "en"

    def api_key_file(self) -> Path | None:
        """Return the key file, unless sending that key to the address would give it to a stranger.

        Raises:
            KeyNotForAddress: a project file names the address and a user or system file names the key. Who
            wrote
                the project file (it may lie in a folder from somebody else) would receive the key.
        """
        key, url = self.candidates("api_key_file")[0], self.candidates("url")[0]
        if key.value is None:
            return None
        if url.source == "project" and key.source in ("user", "system"):
            raise KeyNotForAddress(
                "the project's settings file names the node's address, but not the key for it",
                hint="say which key it may have: --api-key-file FILE, or api_key_file in the same file",
                place=url.place,
            )
        return Path(str(key.value))

    def state_dir(self) -> Path:
        """Return the folder of push journals."""
        return Path(str(self.get("state_dir") or platformdirs.user_state_path("deltaseal", appauthor=False)))

    def _candidates(self, setting: Setting) -> Iterator[Candidate]:
        flag = self.flags.get(setting.name)
        if flag is not None:
            name = "--" + setting.name.replace("_", "-")
            yield Candidate("flag", name, _checked(setting, flag, self.cwd, place=name))
        variable = self.env.get(setting.env)
        if variable:
            yield Candidate(
                "environment", setting.env, _checked(setting, variable, self.cwd, place=setting.env)
            )
        profile = None if setting.name == "profile" else self._profile()
        for file in self.files:
            for table in (file.profiles.get(profile or "", {}), file.table):
                if setting.name in table:
                    value = _checked(setting, table[setting.name], file.path.parent, place=str(file.path))
                    yield Candidate(file.source, str(file.path), value)
        yield Candidate("default", "", setting.default)

    def _profile(self) -> str | None:
        chosen = self.get("profile")
        if chosen is not None and not any(chosen in file.profiles for file in self.files):
            raise SettingInvalid(
                "no settings file has a profile of that name",
                hint="`deltaseal config path` lists the files",
                place="profile",
            )
        return None if chosen is None else str(chosen)


def settings_files(
    cwd: Path, *, user_file: Path | None = None, system_file: Path | None = None
) -> list[tuple[str, Path]]:
    """List (source, path) in order of precedence, whether the files exist or not."""
    user = user_file or platformdirs.user_config_path("deltaseal", appauthor=False) / "config.toml"
    system = system_file or platformdirs.site_config_path("deltaseal", appauthor=False) / "config.toml"
    return [("project", _project_file(cwd)), ("user", user), ("system", system)]


def _project_file(cwd: Path) -> Path:
    """Find the nearest project file with a `[cli]` table; a node's own `deltaseal.toml` has none."""
    for folder in (cwd, *cwd.parents):
        path = folder / PROJECT_FILE
        if path.is_file() and "cli" in _read_toml(path):
            return path
    return cwd / PROJECT_FILE


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingInvalid(
            f"the settings file cannot be read: {_toml_cause(error)}",
            hint="compare it with docs/reference/settings.md",
            place=str(path),
        ) from None


def _toml_cause(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "unknown cause"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"it is not TOML ({error})"


def _load_file(source: str, path: Path) -> _File | None:
    table = _read_toml(path).get("cli")
    if table is None:
        return None
    if not isinstance(table, dict):
        raise SettingInvalid("cli must be a table", hint="write [cli] on a line of its own", place=str(path))
    profiles = table.pop("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(each, dict) for each in profiles.values()):
        raise SettingInvalid("profiles must be tables", hint="write [cli.profiles.<name>]", place=str(path))
    for each in (table, *profiles.values()):
        _refuse_unknown(each, path)
    return _File(source, path, table, profiles)


def _refuse_unknown(table: Mapping[str, Any], path: Path) -> None:
    for name, value in table.items():
        if name in SECRET_NAMES or (isinstance(value, str) and API_KEY_PATTERN.search(value)):
            raise SecretRefused(
                "a settings file must not hold a secret",
                hint="put it into a file that only you can read and name that file, e.g. api_key_file",
                place=str(path),
            )
        if name not in SETTINGS:
            raise SettingInvalid(
                f"there is no setting {name!r}",
                hint="`deltaseal config list` names them all",
                place=str(path),
            )


def _refuse_secret_variables(env: Mapping[str, str]) -> None:
    for name in SECRET_NAMES:
        if env.get(ENV_PREFIX + name.upper()):
            raise SecretRefused(
                "a secret in an environment variable can be read by other processes",
                hint=f"put it into a file and set {ENV_PREFIX}{name.upper()}_FILE",
                place=ENV_PREFIX + name.upper(),
            )


def refuse_secret_arguments(argv: Sequence[str]) -> None:
    """Refuse an API key anywhere on the command line: every user of the machine can list it.

    Raises:
        SecretRefused: there is one. It is not repeated.
    """
    if any(API_KEY_PATTERN.search(argument) for argument in argv):
        raise SecretRefused(
            "a key on the command line can be read by other users and stays in the shell's history",
            hint="revoke that key, put the new one into a file and give --api-key-file FILE",
        )


def _checked(setting: Setting, raw: Any, base: Path, *, place: str) -> str | int | float:
    """Turn what somebody wrote into a value of the setting's kind; the message never repeats it."""
    try:
        return _CHECKS[setting.kind](setting, raw, base)
    except (TypeError, ValueError) as error:
        raise SettingInvalid(
            f"setting {setting.name} is refused: {error}",
            hint=f"`deltaseal config explain {setting.name}`",
            place=place,
        ) from None


def _text(_setting: Setting, raw: Any, _base: Path) -> str:
    if not isinstance(raw, str) or not raw.strip() or not raw.isprintable():
        raise ValueError("it must be printable text")
    return raw


def _path(_setting: Setting, raw: Any, base: Path) -> str:
    if not isinstance(raw, str | os.PathLike) or not str(raw):
        raise ValueError("it must be a path")
    return str(base / Path(raw).expanduser())


def _integer(_setting: Setting, raw: Any, _base: Path) -> int:
    if isinstance(raw, bool | float) or not str(raw).isascii() or not str(raw).isdigit():
        raise ValueError("it must be a whole number")
    value = int(raw)
    if not 0 < value < 2**53:
        raise ValueError("it must be at least 1")
    return value


def _seconds(_setting: Setting, raw: Any, _base: Path) -> float:
    if isinstance(raw, bool):
        raise ValueError("it must be a number of seconds")
    try:
        value = float(raw)
    except ValueError:
        raise ValueError("it must be a number of seconds") from None
    if not 0 < value <= 86400:
        raise ValueError("it must be more than 0 and at most 86400 seconds")
    return value


def _choice(setting: Setting, raw: Any, _base: Path) -> str:
    if raw not in setting.choices:
        raise ValueError(f"it must be one of {', '.join(setting.choices)}")
    return str(raw)


def _address(_setting: Setting, raw: Any, _base: Path) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"0x[0-9a-fA-F]{40}", raw):
        raise ValueError("it must be 0x and 40 hex digits")
    return raw.lower()


_CHECKS: dict[Kind, Callable[[Setting, Any, Path], str | int | float]] = {
    Kind.TEXT: _text,
    Kind.PATH: _path,
    Kind.INTEGER: _integer,
    Kind.SECONDS: _seconds,
    Kind.CHOICE: _choice,
    Kind.ADDRESS: _address,
}


def read_secret(path: Path | None, *, prompt: str, setting: str) -> str:
    """Read a secret from `path`, or ask for it when there is no path and a person sits at the terminal.

    Raises:
        SettingMissing: neither a file nor a terminal.
        SettingInvalid: the file cannot be read, is empty, too long, or has more than one line.
    """
    if path is None:
        if not sys.stdin.isatty():
            raise SettingMissing(
                f"the setting {setting} is not given, and there is no terminal to ask at",
                hint=f"give --{setting.replace('_', '-')} FILE or set {ENV_PREFIX}{setting.upper()}",
            )
        return getpass(f"{prompt}: ")
    try:
        with path.open("rb") as file:
            text = file.read(_SECRET_LIMIT_BYTES + 1).decode("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingInvalid(
            f"the file with the secret cannot be read: {cause}",
            hint=f"check the setting {setting}",
            place=str(path),
        ) from None
    if not text or len(text) > _SECRET_LIMIT_BYTES or "\n" in text:
        raise SettingInvalid(
            "the file with the secret must hold one line",
            hint=f"check the setting {setting}",
            place=str(path),
        )
    return text


def readable_by_others(path: Path) -> bool:
    """Say whether other users of the machine may read `path`; False where it cannot be told."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def sends_key_in_clear(url: str) -> bool:
    """Say whether a key for `url` would cross a network unencrypted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    loopback = host == "localhost" or host == "::1" or host.startswith("127.")
    return parts.scheme == "http" and not loopback
