"""How fast the product is, beside its peers: ``make bench`` (docs/benchmarks.md). Numbers are shown, never asserted."""
