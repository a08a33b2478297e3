"""Settings of a node: where it keeps things, whom it follows, what it accepts.

Precedence: keyword (a command's flag) > environment (`DELTASEAL_NODE_*`) > `deltaseal.toml` in the data folder
> default.
No secret is a setting: passphrases are read from the file that `passphrase_file` names.
Spec page: docs/reference/settings.md.
"""

from __future__ import annotations

import ipaddress
import json
import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from stdnum.cn import uscc

from anchor.digests import SM3_DEFAULT_LIMIT_BYTES
from node.errors import ConfigInvalid

CONFIG_NAME = "deltaseal.toml"


class NodeConfig(BaseSettings):
    """One node's settings; immutable after start."""

    model_config = SettingsConfigDict(env_prefix="DELTASEAL_NODE_", frozen=True, extra="forbid")

    data_dir: Path = Field(description="folder of the store, the index and the keys")
    name: str = Field(default="node", max_length=64, description="name shown in logs and at /v1/info")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8400, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    chain_rpc: str = Field(description="JSON-RPC address of this node's own chain client")
    chain_id: int = Field(ge=1, description="chain id; another chain is refused")
    directory: str = Field(pattern=r"^0x[0-9a-fA-F]{40}$", description="address of the Directory contract")
    engine: str = Field(
        default="embedded",
        description="chain engine, which decides when a block is final: embedded, clique, qbft or ibft2",
    )
    agencies: tuple[str, ...] = Field(min_length=1, description="USCCs of the agencies this node serves")
    passphrase_file: Path = Field(description="file that holds the passphrase of the key folder")
    max_file_bytes: int = Field(default=4 << 30, ge=1, description="largest file accepted")
    sm3_max_bytes: int = Field(
        default=SM3_DEFAULT_LIMIT_BYTES, ge=0, description="files below this size get an SM3 digest too"
    )
    max_meta_bytes: int = Field(default=64 << 10, ge=1024, description="largest meta part or JSON body")
    rate_limit_per_s: float = Field(default=2000.0, gt=0, description="requests a second for one API key")
    max_connections: int = Field(default=2000, ge=8, description="open connections before 503")
    peer_networks: tuple[str, ...] = Field(
        default=(), description="private networks in which other members' endpoints may lie (CIDR)"
    )
    peer_timeout_s: float = Field(default=10.0, gt=0, description="time another node may stay silent")
    checkpoint_period_s: float = Field(
        default=60.0, gt=0, description="seconds between two looks at what other members say of the log"
    )
    tsa_url: str = Field(
        default="", description="RFC 3161 time-stamping authority for the roots of own batches; empty: none"
    )
    public_url: str = Field(
        default="",
        description="address under which slips' QR codes lead here; default: the member's endpoint",
    )
    public_receipts: bool = Field(
        default=False, description="let whoever holds a slip's token fetch its receipt without an API key"
    )
    pending_wait_s: float = Field(default=30.0, gt=0, le=120, description="bound of ?wait= on a request")
    embedded_chain: bool = Field(
        default=False, description="start the chain in the data folder with the node"
    )
    on_erasure_notice: str = Field(
        default="erase",
        pattern="^(erase|flag)$",
        description="what becomes of a copy when its custodian gives notice that it erased the document: "
        "erase it too, or keep it and flag the reuse",
    )
    head_age_limit_s: int = Field(
        default=180,
        ge=5,
        description="age of the newest block that raises chain_stalled, of the final one chain_not_final",
    )

    alarm_after_s: dict[str, int] = Field(
        default={}, description="maximum age in seconds by the name of a wait, where it is not the usual one"
    )

    @field_validator("agencies")
    @classmethod
    def _agencies_are_usccs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for code in value:
            if not uscc.is_valid(code):
                raise ValueError("not a unified social credit code")
        return value

    @field_validator("peer_networks")
    @classmethod
    def _networks_are_cidr(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take keywords, then the environment; the file is merged below them by `load_config`."""
        return (init_settings, env_settings)


def load_config(data_dir: Path, **overrides: Any) -> NodeConfig:
    """Read the settings of the node in `data_dir`; `overrides` (flags) win over all else.

    Raises:
        ConfigInvalid: the file is missing, not TOML, or a value is refused (the setting is named, never its value).
    """
    path = data_dir / CONFIG_NAME
    try:
        written = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigInvalid(
            "the folder holds no node", hint="make one with `deltaseal init`", setting="data_dir"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise ConfigInvalid(
            f"{CONFIG_NAME} cannot be read as TOML",
            hint="compare it with docs/reference/settings.md",
            setting=CONFIG_NAME,
        ) from None
    from_env = {name for name in NodeConfig.model_fields if f"DELTASEAL_NODE_{name.upper()}" in os.environ}
    values = {key: value for key, value in written.items() if key not in from_env}
    values.update({key: value for key, value in overrides.items() if value is not None})
    try:
        return NodeConfig(**{"data_dir": data_dir, **values})
    except ValidationError as error:
        setting = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ConfigInvalid(
            f"setting {setting} is refused: {error.errors()[0]['type']}",
            hint="see docs/reference/settings.md",
            setting=setting,
        ) from None


def write_config(data_dir: Path, values: dict[str, Any]) -> Path:
    """Write a new `deltaseal.toml`; JSON strings, numbers and arrays are valid TOML values.

    Raises:
        ConfigInvalid: a file is there already.
    """
    path = data_dir / CONFIG_NAME
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    try:
        with path.open("x", encoding="utf-8") as target:
            target.write("\n".join(lines) + "\n")
            target.flush()
            os.fsync(target.fileno())
    except FileExistsError:
        raise ConfigInvalid(
            "the folder holds a node already", hint="choose another folder", setting="data_dir"
        ) from None
    return path
