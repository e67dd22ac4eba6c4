"""Jobs: into the queue, waiting for it, and once more after a lock."""
