"""Routes: each parses, calls one use case and renders."""
