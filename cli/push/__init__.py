"""Pushing many files: what to push (`items`, `lists`), what is done (`journal`), doing it (`engine`), showing
it.

Life of a pushed file: listed and checked without the node · digested · sent under an Idempotency-Key that the
journal fixes · its answer written to the journal · watched until it is on the chain, if someone waits or
looks. A push that was killed anywhere is run again with the same command: what the journal has is left out,
what was on its way is sent again under the same key, and the node answers with the material it holds already.
"""
