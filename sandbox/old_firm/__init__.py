"""A firm as the system before this product has left it: its table, its calendars, its marks in both systems."""
