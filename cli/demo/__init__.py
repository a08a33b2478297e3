"""The demonstration: fictional agencies and papers, a small real network, and the scenes played on it.

Must not import `node`: its nodes are processes that this package starts and talks to over HTTP.
"""
