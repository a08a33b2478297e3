"""File descriptors of the node's process: how many there are, and how many connections they allow.

LevelDB that cannot open its next file fails in the middle of a write, and the store then takes no more. So what the
store, the chain and other nodes need is set aside, and clients share the rest. Must not import services or HTTP.
"""

from __future__ import annotations

import resource

from node.errors import DescriptorsScarce

RESERVED = (
    96  # two databases, logs, the chain's connections, PEER_THREADS releases, and those just being refused
)
LEAST_CONNECTIONS = 32


def allow_connections(wanted: int) -> int:
    """Raise the soft limit to the hard one, and return how many connections of `wanted` the process can hold.

    Raises:
        DescriptorsScarce: too few for a node to work.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted
    if hard < RESERVED + LEAST_CONNECTIONS:
        raise DescriptorsScarce(
            f"the process may open {hard} files, a node needs {RESERVED + LEAST_CONNECTIONS}",
            hint="raise the limit of open files (ulimit -n, LimitNOFILE) to 4096 or more",
            allowed=hard,
            needed=RESERVED + LEAST_CONNECTIONS,
        )
    return min(wanted, hard - RESERVED)
