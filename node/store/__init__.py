"""What a node keeps on its own disk: rows, encrypted chunks and the audit log, over LevelDB.

`leveldb` is the only module that knows plyvel; `rows` is the only one that builds keys; none knows policy.
"""
