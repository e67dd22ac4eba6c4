"""Appointments: Advoware's Termine and Google's events, mapped to one form and back. Pure.

The wall-clock time in Berlin is what counts. A time in the hour that does not exist is the one an hour later, as Google
reads it; which of the two equal hours is meant only Google knows, and keeps. What the other side cannot hold comes as
`Untranslatable`: it is never forced. Reading a list never raises, whatever a record is.
"""

from services.calendar_sync.mapping.event_ids import (
    generation_of,
    google_event_id,
    is_inserted_by_sync,
    termine_by_event_id,
)
from services.calendar_sync.mapping.from_advoware import (
    TERMIN_FIELDS,
    read_termin,
    read_termine,
    shows_privat,
    termin_to_event,
)
from services.calendar_sync.mapping.from_google import (
    google_to_event,
    ids_made_by,
    original_start,
    read_google_event,
    read_google_events,
)
from services.calendar_sync.mapping.shared import (
    PROPERTY_ANONYMISED,
    PROPERTY_FRNR,
    PROPERTY_SYNC_ID,
    ZONE,
    Read,
    private_properties,
)
from services.calendar_sync.mapping.to_advoware import (
    changed_termin,
    new_termin,
    with_our_times,
)
from services.calendar_sync.mapping.to_google import (
    google_body,
    hide_body,
    texts_body,
    unmark_body,
)
from services.calendar_sync.model import ANONYMISED_TITLE

__all__ = [
    "ANONYMISED_TITLE",
    "PROPERTY_ANONYMISED",
    "PROPERTY_FRNR",
    "PROPERTY_SYNC_ID",
    "TERMIN_FIELDS",
    "ZONE",
    "Read",
    "changed_termin",
    "generation_of",
    "google_body",
    "google_event_id",
    "google_to_event",
    "hide_body",
    "ids_made_by",
    "is_inserted_by_sync",
    "new_termin",
    "original_start",
    "private_properties",
    "read_google_event",
    "read_google_events",
    "read_termin",
    "read_termine",
    "shows_privat",
    "termin_to_event",
    "termine_by_event_id",
    "texts_body",
    "unmark_body",
    "with_our_times",
]
