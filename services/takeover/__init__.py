"""Takes over what the system before this one has left: its table of pairs, its calendars, its EspoCRM fields.

Nothing here writes to EspoCRM, Advoware or Google. What both sides agree on becomes what our tables remember; where
they differ, the first sync decides by its ordinary rules (docs/cutover.md).
"""
