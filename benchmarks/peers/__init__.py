"""Peers: what others would run for the same purpose, as small as it can be."""
