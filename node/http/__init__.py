"""The HTTP frame of a node: what every route stands in, and no rule of its own."""
