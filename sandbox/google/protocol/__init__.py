"""What all of Google's APIs have in common: access tokens, batches of calls, and partial answers."""
