"""Erasure: what is erased cannot be read, opened or found any more, wherever it was, and nothing else is harmed.

PD is the custodian, XH received a copy, QP plays the erasures that are cut off. The scanner of `traces` is shown
first that it finds what there is; then it must find nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from anchor import failpoints
from anchor.failpoints import FailpointReached
from anchor.signer import Signer, load_keystore
from cli.demo import people
from cli.demo.network import Network
from node.context import Node
from node.errors import MaterialErased
from node.federation.messages import ErasureNotice, render, sign_notice
from node.runtime import close_node
from node.services import backups, custody, erasures, materials
from node.services.requests import ErasureAct
from node.store import rows
from tests.e2e.papers import (
    FIRM,
    INVOICE,
    OTHER_FIRM,
    File,
    Raw,
    fresh_file,
    invoice_wish,
    lease_wish,
    meta_of,
)
from tests.faults import traces
from tests.faults.test_power_loss import ACTOR, anchor_all, opened, push
from tests.support.forks import set_lines
from tests.support.waiting import until

READ = {"deltaseal-purpose": "test", "deltaseal-case": "C-1"}
# Nobody else in the network has these.
SUBJECT = {"idType": "111", "id": "310104185001010997"}
NUMBER = "TO-BE-ERASED-7b1f44"
TITLE = "将被删除的独特标题-7b1f44"


def act(material_id: str, **changes: Any) -> dict[str, Any]:
    body = {
        "reasonCode": "erasure_requested",
        "reason": "test",
        "purpose": "personal information law, article 47",
        "confirm": material_id,
    }
    return {**body, **changes}


def pushed(client: Raw, size: int = 3000, **changes: Any) -> tuple[File, dict[str, Any]]:
    file = fresh_file(size)
    answer = client.push(file, meta_of(file, **changes))
    assert answer.status_code == 201, answer.text
    return file, answer.json()


def granted(client: Raw, file: File, **changes: Any) -> dict[str, Any]:
    until(lambda: client.verify(file.sha256)["verdict"] == "valid", "known at the receiver")
    answer: dict[str, Any] = client.post("/v1/reuses", lease_wish(sha256=file.sha256, **changes)).json()
    assert answer["outcome"] == "granted", answer
    return answer


def wait_done(client: Raw, material_id: str) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/v1/materials/{material_id}/erasure").json()
        return found if found["state"] == "done" else None

    found: dict[str, Any] = until(done, "the erasure is done")
    return found


@dataclass
class Scene:
    """One material through its life: pushed twice, backed up, released, erased while the receiver is down."""

    network: Network
    file: File
    material: dict[str, Any]
    kept: tuple[File, dict[str, Any]]
    kept_receipt: dict[str, Any]
    reuse: dict[str, Any]
    before: traces.Traces
    found_before: set[str]
    answer: dict[str, Any]
    key: str
    unreachable: dict[str, Any]


@pytest.fixture(scope="module")
def pd(network: Network) -> Raw:
    return Raw(network, people.PD)


@pytest.fixture(scope="module")
def xh(network: Network) -> Raw:
    return Raw(network, people.XH)


def back_up(network: Network, place: str) -> None:
    """Have PD make a backup; its admin key lies in its folder."""
    node = network.nodes["PD"]
    key = (node.folder / "admin.key").read_text().strip()
    answer = httpx.post(
        node.url + "/v1/store/backups",
        json={"place": place},
        headers={"authorization": f"Bearer {key}"},
        trust_env=False,
    )
    assert answer.status_code == 200


@pytest.fixture(scope="module")
def scene(network: Network, pd: Raw, xh: Raw) -> Iterator[Scene]:
    kept = pushed(pd, 2000)
    back_up(network, "made before the material")
    time.sleep(1.1)  # backups are told apart by seconds
    marker = fresh_file(2_500_000)
    about: dict[str, Any] = {"subjects": [SUBJECT], "documentNo": NUMBER, "title": TITLE}
    first = pd.push(marker, meta_of(marker, **about))
    assert first.status_code == 201, first.text
    material = first.json()
    reuse = granted(xh, marker, subject=SUBJECT)
    receipt = pd.get(f"/v1/receipts/{kept[1]['materialId']}").json()
    time.sleep(1.1)
    back_up(network, "vault 3")
    texts = {
        "the subject": SUBJECT["id"],
        "the number": NUMBER,
        "the title": TITLE,
        "the digest": marker.sha256,
    }
    before = traces.capture(network.nodes["PD"].folder, material["materialId"], marker.content, texts)
    found = before.in_files(network.nodes["PD"].folder)
    network.nodes["XH"].part.stop()
    key = secrets.token_hex(8)
    answer = pd.post(f"/v1/materials/{material['materialId']}/erase", act(material["materialId"]), key=key)
    assert answer.status_code == 202, answer.text
    wait_done(pd, material["materialId"])
    unreachable = until(
        lambda: (
            one
            if (one := pd.get(f"/v1/materials/{material['materialId']}/erasure").json())["notices"][0][
                "attempts"
            ]
            else None
        ),
        "the notice was tried",
    )
    network.nodes["XH"].restart()
    yield Scene(
        network, marker, material, kept, receipt, reuse, before, found, answer.json(), key, unreachable
    )


def test_the_scanner_finds_all_that_is_there_before(scene: Scene) -> None:
    """The control: with the node's own knowledge it finds every chunk and sealed row in the raw files."""
    assert scene.found_before == set(scene.before.sealed)
    assert {
        "chunk 0",
        "chunk 1",
        "chunk 2",
        "row material",
        "row version",
        "row idempotency",
    } <= scene.found_before
    assert {"the file key", "the salt key", "the subject", "the bytes"} <= set(scene.before.clear)


def test_no_file_of_the_node_holds_a_key_a_name_a_row_or_a_byte_of_it(scene: Scene) -> None:
    assert scene.before.in_files(scene.network.nodes["PD"].folder) == set()
    assert scene.before.in_files(scene.network.folder / "logs") == set()


def test_not_even_with_the_nodes_keys_does_any_row_tell_of_it(scene: Scene) -> None:
    assert scene.before.in_rows(scene.network.nodes["PD"].folder) == set()


def test_no_key_epoch_that_is_left_opens_what_was_wrapped_before(scene: Scene) -> None:
    assert len(scene.before.wrapped) == 2
    assert scene.before.opened_by(scene.network.nodes["PD"].folder) == []


def test_the_tombstone_says_when_why_by_whom_and_which_backups_hold_it(scene: Scene, pd: Raw) -> None:
    found = pd.get(f"/v1/materials/{scene.material['materialId']}/erasure").json()
    assert (found["status"], found["state"], found["reasonCode"]) == ("erased", "done", "erasure_requested")
    assert found["by"].startswith(people.PD.uscc + "/")
    assert [one["place"] for one in found["backups"]] == ["vault 3"]
    assert [one["place"] for one in scene.answer["backups"]] == ["vault 3"]
    back_up(scene.network, "made after")
    assert len(pd.get(f"/v1/materials/{scene.material['materialId']}/erasure").json()["backups"]) == 1


def test_an_erased_material_with_an_older_version_about_somebody_else_leaves_nothing(
    network: Network, pd: Raw
) -> None:
    """Neither subject leads to it, its bytes make a material of their own again, and its first backup is named."""
    old, new = fresh_file(), fresh_file()
    meta = meta_of(old, subjects=[OTHER_FIRM])
    name = pd.push(old, meta).json()["materialId"]
    time.sleep(1.1)  # backups are told apart by seconds
    back_up(network, "between the versions")
    time.sleep(1.1)
    later = meta_of(new, documentNo=meta["documentNo"])
    assert pd.push(new, {**later, "replaces": name}).json()["version"] == 2
    erased = pd.post(f"/v1/materials/{name}/erase", act(name)).json()
    assert "between the versions" in [one["place"] for one in erased["backups"]]
    for subject in (OTHER_FIRM, FIRM):
        assert pd.post("/v1/materials/search", {"subject": subject}).status_code == 200
    for file, about in ((old, meta), (new, later)):
        again = pd.push(file, about)
        assert again.status_code == 201, again.text
        assert again.json()["materialId"] != name


def test_the_material_is_gone_for_every_reader(scene: Scene, pd: Raw) -> None:
    name = scene.material["materialId"]
    for path in (f"/v1/materials/{name}", f"/v1/materials/{name}/content", f"/v1/receipts/{name}"):
        answer = pd.http.get(path, headers=READ)
        assert (answer.status_code, answer.json()["code"]) == (410, "material_erased"), path
    again = pd.post(f"/v1/materials/{name}/revoke", {"reasonCode": 1, "reason": "x"})
    assert (again.status_code, again.json()["code"]) == (410, "material_erased")
    assert pd.post("/v1/materials/search", {"subject": SUBJECT}).json()["items"] == []
    listed = pd.get("/v1/materials", limit=200).json()["items"]
    assert name not in {one["materialId"] for one in listed}
    others = Raw(scene.network, people.SH_CZ).get(f"/v1/materials/{name}/erasure")
    assert others.status_code == 404  # another agency of the same node learns nothing


def test_a_repeated_request_is_answered_as_it_was_and_erases_nothing_else(scene: Scene, pd: Raw) -> None:
    name = scene.material["materialId"]
    again = pd.post(f"/v1/materials/{name}/erase", act(name), key=scene.key)
    assert (again.status_code, again.json()) == (202, scene.answer)
    other = pd.post(f"/v1/materials/{name}/erase", act(name))
    assert (other.status_code, other.json()["code"]) == (410, "material_erased")


def test_every_node_answers_erased(scene: Scene) -> None:
    for agency in (people.PD, people.XH, people.QP):
        client = Raw(scene.network, agency)
        until(
            lambda client=client: client.verify(scene.file.sha256)["verdict"] == "erased", "erased on chain"
        )  # type: ignore[misc]


def test_other_materials_of_the_agency_are_read_and_proved_as_before(scene: Scene, pd: Raw) -> None:
    file, material = scene.kept
    content = pd.http.get(f"/v1/materials/{material['materialId']}/content", headers=READ)
    assert hashlib.sha256(content.content).hexdigest() == file.sha256
    assert pd.verify(file.sha256)["verdict"] == "valid"
    assert pd.post("/v1/verify", {"receipt": scene.kept_receipt}).json()["verdict"] == "valid"
    assert pd.get(f"/v1/receipts/{material['materialId']}").status_code == 200


def test_who_received_it_is_told_once_it_is_back_and_erases_its_copy(scene: Scene, pd: Raw, xh: Raw) -> None:
    assert scene.unreachable["notices"][0]["acknowledgedAt"] is None

    def acknowledged() -> Any:
        found = pd.get(f"/v1/materials/{scene.material['materialId']}/erasure").json()
        return found["notices"][0]["acknowledgedAt"]

    until(acknowledged, "the notice is acknowledged")
    commitment = scene.answer["versions"][0]["commitment"]

    def applied() -> Any:
        for one in xh.get("/v1/erasure-notices").json()["items"]:
            if one["commitment"] == commitment and one["appliedAt"]:
                return one
        return None

    notice = until(applied, "the notice is applied")
    assert notice["copies"] == [scene.reuse["reuseId"]]
    assert notice["signed"]["notice"]["custodian"] == people.PD_MEMBER
    content = xh.get(f"/v1/reuses/{scene.reuse['reuseId']}/content")
    assert (content.status_code, content.json()["code"]) == (410, "material_erased")
    decision = xh.get(f"/v1/reuses/{scene.reuse['reuseId']}").json()
    assert decision["outcome"] == "granted"
    assert decision["erasure"]["copy"] == "erased"
    assert "facts" not in decision
    folder = scene.network.nodes["XH"].folder
    until(lambda: waiting(scene.network, "XH") == 0, "the receiver's erasure is done")
    assert scene.before.in_rows(folder) == set()
    assert scene.before.in_files(folder) == set()


def test_what_a_use_at_the_same_node_knew_of_it_goes_too(network: Network, scene: Scene, pd: Raw) -> None:
    number = f"263100{secrets.randbelow(10**14):014d}"
    file, material = pushed(pd, typeCode=INVOICE, documentNo=number, expiresOn=None)
    wish = invoice_wish(number)
    key = secrets.token_hex(8)
    until(lambda: pd.verify(file.sha256)["verdict"] == "valid", "final")
    made = pd.post("/v1/reuses", wish, key=key, wait="final").json()
    assert made["outcome"] == "granted", made
    folder, name = network.nodes["PD"].folder, material["materialId"]
    before = traces.capture(folder, name, file.content, {"the number": number, "the digest": file.sha256})
    assert before.in_rows(folder) >= {"the number", "the digest"}
    answer = pd.post(f"/v1/materials/{name}/erase", act(name))
    assert answer.status_code == 202, answer.text
    wait_done(pd, name)
    until(lambda: waiting(network, "PD") == 0, "the use's part is done")
    assert before.in_rows(folder) == set()
    assert before.in_files(folder) == set()
    decision = pd.get(f"/v1/reuses/{made['reuseId']}").json()
    assert (decision["outcome"], decision["erasure"]["copy"]) == ("granted", "erased")
    repeated = pd.post("/v1/reuses", wish, key=key, wait="final")
    assert (repeated.status_code, repeated.json()["code"]) == (410, "material_erased")


def test_a_receiver_that_must_keep_its_case_files_keeps_the_copy_and_flags_the_use(
    network: Network, pd: Raw, xh: Raw
) -> None:
    node = network.nodes["XH"]
    node.part.stop()
    set_lines(node.folder, 'on_erasure_notice = "flag"')
    node.restart()
    try:
        file, material = pushed(pd)
        reuse, name = granted(xh, file), material["materialId"]
        assert pd.post(f"/v1/materials/{name}/erase", act(name)).status_code == 202
        wait_done(pd, name)
        place = f"/v1/reuses/{reuse['reuseId']}"
        decision = until(lambda: flagged(xh.get(place).json()), "the use is flagged")
        assert decision["erasure"]["copy"] == "kept"
        assert decision["facts"]["sha256"] == file.sha256
        content = xh.get(place + "/content")
        assert hashlib.sha256(content.content).hexdigest() == file.sha256
        assert xh.verify(file.sha256)["verdict"] == "erased"
    finally:
        node.part.stop()
        set_lines(node.folder, 'on_erasure_notice = "erase"')
        node.restart()


def flagged(decision: dict[str, Any]) -> dict[str, Any] | None:
    return decision if "erasure" in decision else None


def waiting(network: Network, name: str) -> float:
    text = httpx.get(network.nodes[name].url + "/metrics", trust_env=False).text
    line = next(line for line in text.splitlines() if line.startswith("deltaseal_erasures_waiting "))
    return float(line.split()[1])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"confirm": "mat_01JCV3Z5Y8K7Q2M4N6P8R0S2T4"}, "material_invalid"),
        ({"reasonCode": "no_such_reason"}, "material_invalid"),
        ({"purpose": ""}, "request_invalid"),
        ({"confirm": None}, "request_invalid"),
    ],
    ids=["other id", "no reason", "no purpose", "no confirmation"],
)
def test_a_request_without_its_safeguards_erases_nothing(
    scene: Scene, pd: Raw, changes: dict[str, Any], code: str
) -> None:
    name = scene.kept[1]["materialId"]
    body = {key: value for key, value in act(name, **changes).items() if value is not None}
    answer = pd.post(f"/v1/materials/{name}/erase", body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert pd.get(f"/v1/materials/{name}").status_code == 200


def test_a_key_without_the_scope_erases_nothing(scene: Scene, network: Network, pd: Raw) -> None:
    node = network.nodes["PD"]
    admin = {"authorization": f"Bearer {(node.folder / 'admin.key').read_text().strip()}"}
    wanted = {"agency": people.PD.uscc, "scopes": ["materials:write", "materials:read"]}
    made = httpx.post(
        node.url + "/v1/keys",
        json=wanted,
        headers={**admin, "idempotency-key": secrets.token_hex(8)},
        trust_env=False,
    ).json()
    name = scene.kept[1]["materialId"]
    answer = httpx.post(
        node.url + f"/v1/materials/{name}/erase",
        json=act(name),
        headers={"authorization": f"Bearer {made['key']}", "idempotency-key": secrets.token_hex(8)},
        trust_env=False,
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "auth_forbidden")
    assert pd.get(f"/v1/materials/{name}").status_code == 200


def signer_of(network: Network, name: str) -> Signer:
    folder = network.nodes[name].folder
    keys = traces.keys_of(folder)
    config_passphrase = traces.read_passphrase(traces.load_config(folder))
    return load_keystore(keys.keystore_path, config_passphrase)


def test_a_notice_that_is_not_the_custodians_is_refused_and_touches_nothing(
    scene: Scene, xh: Raw, pd: Raw
) -> None:
    file, _ = pushed(pd)
    reuse = granted(xh, file)
    notice = ErasureNotice(
        custodian=people.PD_MEMBER,
        audience=people.XH_MEMBER,
        commitment=reuse["material"]["commitment"],
        reason_code=8,
        erased_at=int(time.time()),
    )
    deployment = scene.network.deployment
    own, other = signer_of(scene.network, "PD"), signer_of(scene.network, "QP")
    wrong = [
        sign_notice(notice, Signer.generate(), deployment),
        sign_notice(notice, other, deployment),
        sign_notice(changed(notice, custodian=people.QP_MEMBER), other, deployment),
        sign_notice(changed(notice, audience=people.QP_MEMBER), own, deployment),
        sign_notice(changed(notice, erased_at=int(time.time()) + 600), own, deployment),
    ]
    for signed in wrong:
        answer = httpx.post(
            xh.url + "/v1/federation/erasures",
            content=render(signed),
            headers={"content-type": "application/json"},
            trust_env=False,
        )
        assert (answer.status_code, answer.json()["code"]) == (401, "notice_refused")
    content = xh.get(f"/v1/reuses/{reuse['reuseId']}/content")
    assert hashlib.sha256(content.content).hexdigest() == file.sha256


def changed(notice: ErasureNotice, **changes: Any) -> ErasureNotice:
    return msgspec.structs.replace(notice, **changes)


# Cut off at every step

SHORT = ("material.erase.after", "erasure.page.after", "erasure.delete.after")
LONG = (
    "material.erase.before",
    "erasure.rotate.after",
    "erasure.epoch.after",
    "erasure.keys_destroyed.after",
    "erasure.purge.after",
)
POINTS = [*SHORT, *(pytest.param(point, marks=pytest.mark.full) for point in LONG)]


@pytest.fixture(scope="module")
def qp_folder(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """QP's folder, for nodes that run inside of this process; its own process stands still meanwhile."""
    node = network.nodes["QP"]
    node.part.stop()
    home = tmp_path_factory.mktemp("erasure") / "home"
    shutil.copytree(node.folder, home)
    yield home
    shutil.rmtree(node.folder / "store")
    shutil.rmtree(node.folder / "keys")
    shutil.copytree(home / "store", node.folder / "store")
    shutil.copytree(home / "keys", node.folder / "keys")
    node.restart()


def started(folder: Path) -> Node:
    node = opened(folder)
    erasures.load(node)
    return node


def erase_to_the_end(node: Node, name: str) -> None:
    body = ErasureAct(reason_code=8, reason="test", purpose="test", confirm=name)
    with contextlib.suppress(MaterialErased):  # it was accepted before
        erasures.erase(node, ACTOR, name, body, on_commit=lambda _: [])
    erasures.work_once(node)


@pytest.mark.parametrize("point", POINTS)
def test_an_erasure_cut_off_at_any_step_ends_after_a_restart(qp_folder: Path, point: str) -> None:
    node = started(qp_folder)
    doomed, kept = fresh_file(1_200_000), fresh_file(1500)
    name, kept_name = push(node, doomed), push(node, kept)
    close_node(node)
    before = traces.capture(qp_folder, name, doomed.content, {"the digest": doomed.sha256})
    assert before.in_files(qp_folder) == set(before.sealed)

    node = started(qp_folder)
    failpoints.arm(f"{point}:1:raise")
    try:
        with pytest.raises(FailpointReached):
            erase_to_the_end(node, name)
    finally:
        failpoints.arm("")
        close_node(node)

    node = started(qp_folder)
    erase_to_the_end(node, name)
    row = rows.ERASURE.get(node.store, name)
    assert row is not None
    assert row.state == "done"
    assert not node.waiting.erasures
    held = custody.unlock(node, materials.get(node, ACTOR, kept_name).version)
    assert b"".join(custody.read(node, held)) == kept.content
    close_node(node)
    assert before.in_files(qp_folder) == set()
    assert before.in_rows(qp_folder) == set()
    assert before.opened_by(qp_folder) == []


def test_what_comes_back_with_an_old_copy_is_erased_again(qp_folder: Path, tmp_path: Path) -> None:
    """A tombstone wins over a backup: the chain still says `erased`, and the restored node asks it."""
    node = started(qp_folder)
    doomed = fresh_file(900)
    name = push(node, doomed)
    anchor_all(node)
    pieces = backups.write_backup(node.store, node.keys, node_id=node.node_id, created_at=node.clock())
    copy = tmp_path / "copy"
    backups.save_backup(pieces, copy, node.keys)
    erase_to_the_end(node, name)
    anchor_all(node)
    close_node(node)
    home = tmp_path / "home"
    shutil.copytree(qp_folder, home, ignore=shutil.ignore_patterns("store", "index"))
    backups.restore_store(copy, home, traces.keys_of(home))

    node = started(home)
    assert rows.VERSION.get(node.store, name, 1) is not None  # the control: it did come back
    erasures.work_once(node)
    row = rows.ERASURE.get(node.store, name)
    assert row is not None
    assert (row.state, row.operation_ids) == ("done", [])
    assert rows.VERSION.get(node.store, name, 1) is None
    assert rows.SETTING.get(node.store, "restored") is None
    close_node(node)
    assert traces.Traces(clear={"the digest": [doomed.sha256.encode()]}).in_rows(home) == set()


def test_rows_written_while_an_epoch_is_retired_are_never_lost(qp_folder: Path) -> None:
    """Pushes run beside erasures, each of which destroys the epoch that the pushes wrap under."""
    node = started(qp_folder)
    made: list[tuple[str, File]] = []
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            file = fresh_file(700)
            made.append((push(node, file), file))

    threads = [threading.Thread(target=go_on) for _ in range(3)]
    doomed = [push(node, fresh_file(500)) for _ in range(6)]
    early = fresh_file(700)
    read_before = materials.get(node, ACTOR, push(node, early)).version
    for thread in threads:
        thread.start()
    try:
        for name in doomed:
            erase_to_the_end(node, name)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(made) > 10
    # A reader that took the row before the epoch went finds the new one.
    assert b"".join(custody.read(node, custody.unlock(node, read_before))) == early.content
    for name, file in made:
        held = custody.unlock(node, materials.get(node, ACTOR, name).version)
        assert b"".join(custody.read(node, held)) == file.content
    close_node(node)
