"""The HTTP port: routes of steps, their answers, and the console's API."""
