"""One id for both sides: deriving event ids, and the registry that remembers them."""
