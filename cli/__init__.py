"""The `deltaseal` command: everything a person or a script does with a node from a terminal.

It speaks HTTP to a node (`client.py`) and uses `anchor` and `verifier` only for what works offline. It must
not import `node`: node programs are started as processes. Spec page: docs/reference/cli.md.
"""
