"""A node with a chain of its own: one machine, one operator, one command. For trying out and for a single office.

The operator holds the council's key too; `chain status` and every verdict say `single_operator`.
"""

from __future__ import annotations

from pathlib import Path

from anchor.chain.deploy import CouncilActs, Profile, Role, deploy, new_epoch_secret, resolve
from anchor.chain.gateway import Gateway
from anchor.signer import Signer, load_keystore, save_keystore
from node.chainserver import ChainProcess, start_chain_process
from node.config import NodeConfig
from node.keys import KeyFolder

CHAIN_FOLDER = "chain"
MEMBER_ID = 1
DOMAIN = 1


def start_own_chain(config: NodeConfig) -> ChainProcess:
    """Start the chain that `make_own_chain` put into the node's folder, on the port that the settings name."""
    port = int(config.chain_rpc.rsplit(":", 1)[1])
    return start_chain_process(config.data_dir / CHAIN_FOLDER, port=port, chain_id=config.chain_id)


def make_own_chain(folder: Path, *, chain_id: int) -> tuple[ChainProcess, Signer, str]:
    """Create a chain and deploy the contracts; return the running chain, the council's key and the Directory."""
    chain = start_chain_process(folder / CHAIN_FOLDER, chain_id=chain_id, create=True)
    try:
        council = Signer.generate()
        gateway = Gateway(chain.rpc)
        deployment = deploy(gateway, council)
        gateway.close()
    except BaseException:
        chain.stop()
        raise
    return chain, council, "0x" + deployment.directory.hex()


def admit_self(
    rpc: str, directory: str, council: Signer, keys: KeyFolder, config: NodeConfig, passphrase: str
) -> None:
    """Admit the node as the one member, give it the domain's keys, and keep the council's key beside its own."""
    save_keystore(keys.keystore_path.with_name("council.json"), council, passphrase)
    signer = load_keystore(keys.keystore_path, passphrase)
    gateway = Gateway(rpc)
    try:
        deployment = resolve(gateway, bytes.fromhex(directory[2:]), chain_id=config.chain_id, genesis=None)
        acts = CouncilActs(gateway, council, deployment)
        public = keys.recipient_key().public_bytes
        acts.admit_member(
            MEMBER_ID,
            Profile(
                account=signer.address,
                role=Role.CITY,
                level=1,
                area=int(config.agencies[0][2:8]),
                uscc=config.agencies[0],
                valid_from=0,
                valid_until=0,
                name=config.name,
                endpoint=f"http://{config.host}:{config.port}",
                hpke_key=public,
            ),
        )
        for epoch in (0, 1):
            acts.publish_epoch(DOMAIN, epoch, new_epoch_secret(), {MEMBER_ID: public})
    finally:
        gateway.close()
