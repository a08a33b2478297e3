"""The one room of this project that speaks to a chain: RPC, contracts, deployment, finality, embedded chain.

Nothing here knows an HTTP server, LevelDB or the verifier's rules.
"""
