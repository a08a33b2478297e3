"""Between nodes: signed release requests, sealed answers, guarded endpoints. The peer is hostile."""
