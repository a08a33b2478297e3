"""Settings of the command line: precedence, kinds, and that no secret is taken from where others can read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.errors import KeyNotForAddress, SecretRefused, SettingInvalid, SettingMissing
from cli.settings import (
    SETTINGS,
    Settings,
    read_secret,
    readable_by_others,
    refuse_secret_arguments,
    sends_key_in_clear,
)

KEY = "dsk_4j7kq2m4n6p8r0s2_" + "s" * 43


class Places:
    """The three settings files in a temporary folder, and a way to load them."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work" / "deeper"
        self.work.mkdir(parents=True)
        self.project = folder / "work" / "deltaseal.toml"
        self.user, self.system = folder / "user.toml", folder / "system.toml"

    def load(self, flags: dict[str, str] | None = None, **env: str) -> Settings:
        return Settings.load(
            flags or {}, env=env, cwd=self.work, user_file=self.user, system_file=self.system
        )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_each_source_wins_over_those_below_it(places: Places) -> None:
    assert places.load().candidates("url")[0].source == "default"
    places.system.write_text('[cli]\nurl = "http://system"\n')
    assert places.load().get("url") == "http://system"
    places.user.write_text('[cli]\nurl = "http://user"\n')
    assert places.load().get("url") == "http://user"
    places.project.write_text('[cli]\nurl = "http://project"\n')
    assert places.load().get("url") == "http://project"
    assert places.load(DELTASEAL_URL="http://environment").get("url") == "http://environment"
    settings = places.load({"url": "http://flag"}, DELTASEAL_URL="http://environment")
    sources = [each.source for each in settings.candidates("url")]
    assert sources == ["flag", "environment", "project", "user", "system", "default"]


def test_a_nodes_own_settings_file_is_passed_by(places: Places) -> None:
    (places.work / "deltaseal.toml").write_text('data_dir = "."\nport = 8400\n')
    places.project.write_text('[cli]\nurl = "http://project"\n')
    assert places.load().get("url") == "http://project"


def test_a_profile_wins_within_its_file_only(places: Places) -> None:
    places.user.write_text(
        '[cli]\nurl = "http://plain"\nlang = "en"\n[cli.profiles.pudong]\nurl = "http://pudong"\n'
    )
    assert places.load().get("url") == "http://plain"
    chosen = places.load({"profile": "pudong"})
    assert (chosen.get("url"), chosen.get("lang")) == ("http://pudong", "en")
    places.project.write_text('[cli]\nurl = "http://project"\n')
    assert places.load({"profile": "pudong"}).get("url") == "http://project"


def test_a_profile_that_no_file_has_is_refused(places: Places) -> None:
    with pytest.raises(SettingInvalid, match="no settings file has a profile"):
        places.load({"profile": "nowhere"}).get("url")


def test_paths_count_from_the_folder_of_their_file(places: Places) -> None:
    places.project.write_text('[cli]\nca_file = "ca.pem"\n')
    assert places.load().get("ca_file") == str(places.project.parent / "ca.pem")
    assert places.load({"ca_file": "ca.pem"}).get("ca_file") == str(places.work / "ca.pem")


@pytest.mark.parametrize(
    "line",
    [
        f'api_key = "{KEY}"',
        'passphrase = "open sesame"',
        'council_key = "0x01"',
        f'api_key_file = "{KEY}"',
        f'[cli.profiles.x]\nurl = "http://{KEY}"',
    ],
)
def test_a_secret_in_a_file_is_refused_and_not_repeated(places: Places, line: str) -> None:
    places.project.write_text(f"[cli]\n{line}\n")
    with pytest.raises(SecretRefused) as caught:
        places.load()
    assert "sesame" not in str(caught.value) and KEY not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("name", ["DELTASEAL_API_KEY", "DELTASEAL_PASSPHRASE", "DELTASEAL_COUNCIL_KEY"])
def test_a_secret_in_the_environment_is_refused(places: Places, name: str) -> None:
    with pytest.raises(SecretRefused) as caught:
        Settings.load(env={name: KEY}, cwd=places.work)
    assert KEY not in str(caught.value) and f"{name}_FILE" in caught.value.hint


@pytest.mark.parametrize(
    "argv", [["--api-key-file", KEY], [f"--api-key={KEY}"], ["api", "GET", f"/v1/{KEY}"]]
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(argv: list[str]) -> None:
    with pytest.raises(SecretRefused) as caught:
        refuse_secret_arguments(argv)
    assert KEY not in str(caught.value) + caught.value.hint


def test_a_key_of_the_user_is_not_sent_where_a_project_file_says(places: Places) -> None:
    """Whoever wrote a project file in a downloaded folder would else receive the key."""
    places.user.write_text('[cli]\napi_key_file = "my.key"\n')
    places.project.write_text('[cli]\nurl = "https://stranger.example"\n')
    with pytest.raises(KeyNotForAddress):
        places.load().api_key_file()
    flagged = places.load({"api_key_file": "my.key"})
    assert flagged.api_key_file() == places.work / "my.key"
    places.project.write_text('[cli]\nurl = "https://known.example"\napi_key_file = "its.key"\n')
    assert places.load().api_key_file() == places.project.parent / "its.key"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[cli]\nurI = 'x'\n", "no setting"),
        ("[cli]\nparallel = 'many'\n", "whole number"),
        ("[cli]\nparallel = 0\n", "at least 1"),
        ("[cli]\nparallel = true\n", "whole number"),
        ("[cli]\ntimeout = 'soon'\n", "number of seconds"),
        ("[cli]\ntimeout = 0\n", "more than 0"),
        ("[cli]\noutput = 'xml'\n", "one of"),
        ("[cli]\ndirectory = '0x12'\n", "40 hex digits"),
        ("[cli]\nurl = 7\n", "printable text"),
        ("cli = 3\n", "table"),
        ("[cli\n", "not TOML"),
        ("[cli]\nprofiles = 1\n", "tables"),
    ],
)
def test_a_wrong_value_is_refused_with_its_file(places: Places, content: str, words: str) -> None:
    places.user.write_text(content)
    with pytest.raises(SettingInvalid, match=words) as caught:
        settings = places.load()
        for name in SETTINGS:
            settings.get(name)
    assert caught.value.place == str(places.user)


def test_a_file_that_is_not_utf8_is_refused(places: Places) -> None:
    places.user.write_bytes(b'[cli]\nurl = "http://\xff"\n')
    with pytest.raises(SettingInvalid, match="UTF-8"):
        places.load()


def test_language_follows_the_locale_unless_it_is_chosen(places: Places) -> None:
    assert places.load().language() == "en"
    assert places.load(LANG="zh_CN.UTF-8").language() == "zh"
    assert places.load(LANG="zh_CN.UTF-8", LC_ALL="C").language() == "en"
    assert places.load({"lang": "zh"}).language() == "zh"


def test_a_setting_that_is_needed_names_its_flag_and_variable(places: Places) -> None:
    with pytest.raises(SettingMissing) as caught:
        places.load().require("chain_rpc", why="deploy")
    assert "--chain-rpc" in caught.value.hint and "DELTASEAL_CHAIN_RPC" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"\xff\n", b"x" * 5000])
def test_a_secret_file_must_hold_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(SettingInvalid):
        read_secret(path, prompt="", setting="api_key_file")


def test_a_secret_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b" spaced secret \r\n")
    assert read_secret(path, prompt="", setting="api_key_file") == " spaced secret "


def test_no_file_and_no_terminal_is_an_error_and_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(SettingMissing, match="no terminal"):
        read_secret(None, prompt="API key", setting="api_key_file")


def test_rights_of_a_key_file_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("x")
    path.chmod(0o644)
    assert readable_by_others(path)
    path.chmod(0o600)
    assert not readable_by_others(path) and not readable_by_others(tmp_path / "none")


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("http://127.0.0.1:8400", False),
        ("http://localhost:1", False),
        ("http://[::1]:1", False),
        ("https://node.example", False),
        ("http://node.example", True),
        ("http://10.0.0.7:8400", True),
    ],
)
def test_an_unencrypted_way_for_the_key_is_seen(url: str, clear: bool) -> None:
    assert sends_key_in_clear(url) is clear


def test_every_setting_has_a_kind_a_help_and_a_variable() -> None:
    for setting in SETTINGS.values():
        assert setting.help and setting.env == "DELTASEAL_" + setting.name.upper()
