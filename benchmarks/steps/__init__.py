"""Steps that only benchmarks have."""
