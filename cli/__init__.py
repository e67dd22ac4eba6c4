"""The `bitbylaw` command: starts and stops the whole system on one machine."""
