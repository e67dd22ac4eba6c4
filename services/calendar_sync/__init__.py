"""The calendar sync: Advoware's Termine and the employees' Google calendars.

Four rooms, as in every sync: observe, `plan` (pure), apply, record. `model` holds the values they share, `mapping`
everything about the field names of both systems.
"""
