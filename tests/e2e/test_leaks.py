"""A whole scene with distinctive ids, numbers, titles and keys: none of them shows where nobody may read it.

Looked through: the logs of all nodes and of the chain, /metrics, the command line's stderr and `doctor`, the arguments
of every process, the words of every error that was answered, and the audit log's entries. A control plants each secret
in each place and sees the scan find it.
"""

from __future__ import annotations

import json
import secrets
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from cli.demo import catalogue, people
from cli.demo.network import DemoNode, Network
from node.config import load_config
from node.keys import KeyFolder
from node.runtime import read_passphrase
from tests.e2e.papers import LEASE, File, Raw, fresh_file, lease_wish, meta_of
from tests.integration.cli_node_factory import key_file, run_cli, start_cli

# Nobody else in the test network has this id; its birth year is one that no register knows.
SUBJECT = {"idType": "111", "id": "310104185001010989"}
PURPOSE = "%E6%9F%A5%E9%AA%8C"
READ = {"deltaseal-purpose": PURPOSE, "deltaseal-case": "C-LEAK"}


@dataclass
class Scene:
    """What was said where, and what must not be in it."""

    secrets: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    codes: set[str] = field(default_factory=set)

    def found(self) -> set[tuple[str, str]]:
        """Return (secret, place) for each secret that is anywhere, as text, JSON escapes or percent-encoded."""
        return {
            (name, place)
            for name, secret in self.secrets.items()
            for place, text in self.places.items()
            if any(form in text for form in forms_of(secret))
        }

    def note(self, place: str, text: str) -> None:
        self.places[place] = self.places.get(place, "") + text + "\n"


def forms_of(secret: str) -> set[str]:
    escaped = json.dumps(secret)[1:-1]
    return {secret, escaped, quote(secret), quote(secret, safe=""), secret.encode().hex()}


@pytest.fixture(scope="module")
def scene(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    made = Scene()
    marker = secrets.token_hex(6)
    made.secrets = {
        "the subject": SUBJECT["id"],
        "the number": f"NUMMER-{marker}",
        "the title": f"标题{marker}",
        "the file name": f"datei-{marker}.pdf",
        "a foreign key": "dsk_" + "a" * 16 + "_" + "S" * 43,
    }
    play_http(network, made)
    play_command_line(network, made, tmp_path_factory.mktemp("leaks"))
    made.secrets |= keys_of(network)
    collect(network, made)
    return made


def play_http(network: Network, made: Scene) -> None:
    """Push, verify, use, release, revoke, erase; then err in every way that a caller can."""
    pd, xh = Raw(network, people.PD), Raw(network, people.XH)
    file = fresh_file()
    about: dict[str, Any] = {
        "subjects": [SUBJECT],
        "documentNo": made.secrets["the number"],
        "title": made.secrets["the title"],
        "fileName": made.secrets["the file name"],
    }
    material = pd.push(file, meta_of(file, **about)).json()
    network.settle()
    wish = lease_wish(sha256=file.sha256, subject=SUBJECT, documentNo=made.secrets["the number"])
    reuse = xh.post("/v1/reuses", wish).json()
    assert reuse["outcome"] == "granted", reuse
    xh.http.get(f"/v1/reuses/{reuse['reuseId']}/content")
    for path in ("", "/content", "?version=1"):
        pd.http.get(f"/v1/materials/{material['materialId']}{path}", headers=READ)
    pd.http.get(f"/v1/receipts/{material['materialId']}")
    for client in (pd, xh):
        client.verify(file.sha256, subject=SUBJECT, typeCode=LEASE)
        client.post("/v1/materials/search", {"subject": SUBJECT})
        client.post("/v1/exemptions", {"matterCode": catalogue.OPEN_FIRM, "subject": SUBJECT})
    for answer in errors(network, made, pd, material["materialId"], file):
        if answer.headers["content-type"].startswith("application/problem+json"):
            made.codes.add(answer.json()["code"])
        made.note("error texts", answer.text)
    pd.post(f"/v1/materials/{material['materialId']}/revoke", {"reasonCode": 1, "reason": "test"})
    erase = {"reasonCode": 8, "reason": "test", "purpose": "test", "confirm": material["materialId"]}
    assert pd.post(f"/v1/materials/{material['materialId']}/erase", erase).status_code == 202


def errors(network: Network, made: Scene, pd: Raw, name: str, file: File) -> Iterator[httpx.Response]:
    """Put each secret into each place of a request where it does not belong."""
    good = meta_of(file, subjects=[SUBJECT])
    foreign = {"authorization": f"Bearer {made.secrets['a foreign key']}"}
    for secret in made.secrets.values():
        text = quote(secret, safe="")
        yield pd.get(f"/v1/materials/{text}")
        yield pd.get(f"/v1/{text}")
        yield pd.get("/v1/materials", cursor=secret)
        yield pd.get("/v1/materials", typeCode=secret * 3)
        yield pd.get(f"/v1/operations/{text}")
        yield pd.get(f"/v1/jobs/{text}")
        yield pd.get(f"/v1/catalog/duty/{text}")
        yield pd.get(f"/v1/catalog/{text}/X")
        yield pd.get(f"/v1/receipts/{name}", open=secret)
        yield pd.get(f"/v1/reuses/{text}/content")
        yield pd.http.request(text.encode()[:20].decode() or "X", "/v1/materials")
        yield pd.post(f"/v1/materials/{name}/{text}", {"reasonCode": 1, "reason": secret})
        yield pd.post(f"/v1/materials/{name}/revoke", {"reasonCode": secret, "reason": secret})
        yield pd.post(f"/v1/materials/{name}/erase", {"confirm": secret})
        yield pd.post("/v1/verify", {secret: secret})
        yield pd.post("/v1/verify", f'{{"{secret}": NaN, "{secret}": 1}}'.encode())
        yield pd.post("/v1/verify", {"sha256": secret, "subject": {"idType": "111", "id": secret}})
        yield pd.post("/v1/reuses", {**lease_wish(), "matterCode": secret})
        yield pd.post("/v1/reuses", {**lease_wish(subject=SUBJECT), "scenarioCode": secret, "caseNo": secret})
        yield pd.post("/v1/exemptions", {"matterCode": secret, "subject": SUBJECT})
        yield pd.post(
            "/v1/documents/revoke", {"typeCode": LEASE, "documentNo": secret, "reasonCode": 1, "reason": "x"}
        )
        yield pd.post("/v1/materials/search", {"subject": {"idType": secret[:3], "id": secret}})
        yield pd.push(file, {**good, "issuedOn": secret}, wait=None)
        yield pd.push(file, {**good, secret: 1}, wait=None)
        yield pd.push(file, {**good, "sha256": "0" * 64}, wait=None)
        yield pd.push(file, {**good, "subjects": [{"idType": "111", "id": secret}]}, wait=None)
        yield pd.http.put(
            f"/v1/catalog/duty/{text}",
            json={secret: {secret: "x\n"}},
            headers={"idempotency-key": text[:100]},
        )
        yield pd.http.post("/v1/federation/releases", json={"request": {secret: secret}, "signature": secret})
        yield pd.http.post("/v1/federation/erasures", json={"notice": {secret: secret}, "signature": secret})
        yield pd.http.get("/v1/me", headers={"authorization": f"Bearer {text}"})
        yield pd.http.get(f"/v1/materials/{name}/content", headers={"deltaseal-purpose": text})
    yield pd.http.get("/v1/me", headers=foreign)
    yield pd.http.get("/v1/keys")


def play_command_line(network: Network, made: Scene, folder: Path) -> None:
    """Run commands that succeed and that fail, with what is secret in files; look at them while they run."""
    node = network.nodes["PD"]
    flags = ["--url", node.url, "--api-key-file", str(key_file(folder, node.keys[people.PD.key]))]
    subject = folder / "subject.txt"
    subject.write_text(f"111:{SUBJECT['id']}\n", "utf-8")
    (folder / "paper.bin").write_bytes(b"content")
    head = "path,typeCode,subject,documentNo,caseNo,title,issuedOn\n"
    number = made.secrets["the number"]
    lines = [
        f"paper.bin,{LEASE},111:{SUBJECT['id']},{number},C-1,{made.secrets['the title']},2026-07-01",
        f"paper.bin,{LEASE},111:{SUBJECT['id'][:-1]}X,{number},C-1,t,2026-07-01",
        f"paper.bin,{LEASE},111:{SUBJECT['id']},{number},C-1,t,{number}",
    ]
    (folder / "list.csv").write_text(head + "\n".join(lines) + "\n", "utf-8")
    commands = [
        ["push", "list.csv"],
        ["material", "search", "--subject", f"@{subject}"],
        ["verify", "paper.bin", "--subject", f"@{subject}"],
        ["exemptions", "--matter", catalogue.OPEN_FIRM, "--subject", f"@{subject}"],
        ["doctor", "--data-dir", str(node.folder)],
        ["material", "get", "mat_01JCV3Z5Y8K7Q2M4N6P8R0S2T4", "--purpose", "x", "--case", "y", "--to", "-"],
    ]
    for arguments in commands:
        ended = run_cli([*arguments, *flags], folder)
        made.note(f"stderr of {arguments[0]}", ended.stderr)
        if arguments[0] == "doctor":
            made.note("doctor", ended.stdout)
    erase_by_command(network, made, flags, folder)
    running = start_cli(["push", "list.csv", "--journal", "second", *flags], folder)
    made.note("arguments", Path(f"/proc/{running.pid}/cmdline").read_text().replace("\0", " "))
    running.communicate(timeout=120)
    made.places["arguments of the command"] = made.places.pop("arguments").replace(str(folder), "")


def erase_by_command(network: Network, made: Scene, flags: list[str], folder: Path) -> None:
    """Erase a material by the commands, once with a confirmation that does not fit."""
    file = fresh_file()
    name = Raw(network, people.PD).push(file, meta_of(file, subjects=[SUBJECT])).json()["materialId"]
    why = ["--reason-code", "erasure_requested", "--reason", "test", "--purpose", "test"]
    runs = [
        (["material", "erase", name, "--confirm", "mat_x", *why], 6, ""),
        (["material", "erase", name, "--confirm", name, *why], 0, "erasure_requested"),
        (["material", "erasure", name], 0, "erased"),
        (["material", "show", name], 3, ""),
        (["material", "notices"], 0, ""),
    ]
    for arguments, code, shown in runs:
        ended = run_cli([*arguments, *flags], folder)
        assert ended.returncode == code, (arguments, ended.stderr)
        assert shown in ended.stdout
        made.note("stderr of erase", ended.stderr)
        made.note("stdout of erase", ended.stdout)


def keys_of(network: Network) -> dict[str, str]:
    """Return every key and passphrase that lies in the nodes' folders, by what it is."""
    found: dict[str, str] = {}
    for name, node in network.nodes.items():
        config = tomllib.loads((node.folder / "deltaseal.toml").read_text("utf-8"))
        passphrase = Path(config["passphrase_file"]).read_text("utf-8").strip()
        keys = KeyFolder.open(node.folder / "keys", read_passphrase(load_config(node.folder)))
        found[f"passphrase of {name}"] = passphrase
        found[f"store key of {name}"] = keys.store_key().hex()
        found[f"admin key of {name}"] = (
            (node.folder / "admin.key").read_text("utf-8").strip().split("_", 2)[2]
        )
        for agency, key in node.keys.items():
            found[f"API key of {agency}"] = key.split("_", 2)[2]
    return found


def collect(network: Network, made: Scene) -> None:
    for path in sorted((network.folder / "logs").iterdir()):
        if path.is_file():
            made.note(f"log {path.name}", path.read_text("utf-8", "replace"))
    for name, node in network.nodes.items():
        made.note(f"metrics of {name}", httpx.get(node.url + "/metrics", trust_env=False).text)
        made.note(f"arguments of {name}", arguments_of(node.part.pid))
        made.note(f"audit of {name}", audit_of(node))
    made.note("arguments of the chain", arguments_of(network.chain.pid))


def arguments_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def audit_of(node: DemoNode) -> str:
    """Read the objects, actors and outcomes of the audit log; reasons are the callers' own words."""
    texts, cursor = [], {}
    while True:
        page = node.client.get("/v1/audit/events", limit=200, **cursor)
        texts += [json.dumps({**one, "reason": ""}, ensure_ascii=False) for one in page["items"]]
        if page["nextCursor"] is None or len(texts) > 2000:
            return "\n".join(texts)
        cursor = {"cursor": page["nextCursor"]}


def test_nothing_that_is_secret_shows_anywhere(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    size = sum(map(len, scene.places.values()))
    record_property(
        "count", f"leak scan: {len(scene.secrets)} secrets in {len(scene.places)} places of {size} characters"
    )
    assert scene.found() == set()


def test_the_scene_was_played_and_the_places_are_the_real_ones(scene: Scene) -> None:
    logs = "".join(text for place, text in scene.places.items() if place.startswith("log "))
    assert "/v1/materials/{material_id}" in logs
    assert "reuse" in logs
    assert "deltaseal_http" in scene.places["metrics of PD"]
    assert "material.accept" in scene.places["audit of PD"]
    assert "serve" in scene.places["arguments of PD"]
    assert "pass" in scene.places["doctor"]
    assert "error:" in "".join(text for place, text in scene.places.items() if place.startswith("stderr"))
    assert len(scene.codes) >= 15, scene.codes


def test_the_scan_finds_each_secret_in_each_place(scene: Scene) -> None:
    """The control: planted in its plain form, in JSON and percent-encoded, each is found everywhere."""
    for plant in (str, lambda text: json.dumps(text), lambda text: quote(text, safe="")):
        planted = Scene(
            scene.secrets,
            {place: text + plant("".join(scene.secrets.values())) for place, text in scene.places.items()},
        )
        assert planted.found() == {(name, place) for name in scene.secrets for place in scene.places}
