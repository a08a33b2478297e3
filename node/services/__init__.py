"""Use cases of a node: one public function each, typed request to typed result. No FastAPI, no HTTP."""
