"""A node of the consortium: store, keys, services, federation and HTTP API."""
