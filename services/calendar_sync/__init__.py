"""The calendar sync: Advoware's Termine and the employees' Google calendars.

Four phases, as in every sync: `observe`, `plan` (pure), `apply`, record; `run` puts them one after the other. `model`
holds the values they share, `view` what the plan looks at, `mapping` everything about the field names of both systems.
"""
