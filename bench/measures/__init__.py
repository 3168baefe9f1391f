"""One file a measure. Each has `measure(size)`, which yields rows as they become known."""
