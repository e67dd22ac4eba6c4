"""The port of the workers: connections, messages, functions and triggers that they offer, channels, OTel frames."""
