"""The durable queue and its delivery."""
