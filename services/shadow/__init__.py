"""See before anything is written: previews, and the operation beside the old system (``BITBYLAW_READ_ONLY``)."""
