"""The operators' board: a small web application beside the sync, which can be stopped without touching it."""
