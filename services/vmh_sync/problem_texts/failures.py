"""Failures that users see on a record (``syncErrorMessage``): one short German sentence with a code each. Pure.

The log has the English text of the error (`services.core.errors.shown_text`); here is what it means for whoever looks
at the record. Nothing of what a foreign system answered is repeated but the name of the field that it refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.core.errors import (
    AuthenticationFailed,
    BitByLawError,
    ConfigurationError,
    Conflict,
    DatabaseUnusable,
    EntityBusy,
    Forbidden,
    ForeignSystemError,
    InvalidInput,
    LoginRefused,
    NotBefore,
    NotFound,
    Paused,
    RateLimited,
    ReadOnly,
    RefusedBefore,
    SyncTokenExpired,
    Unavailable,
    UnexpectedAnswer,
    UpstreamTimeout,
    ValidationFailed,
    WriteProtected,
)
from services.vmh_sync.problem_texts.labels import LABELS

_AGAIN = "; es wird von selbst erneut versucht"
_OPERATOR = "; bitte die EDV-Betreuung benachrichtigen"
_STORE = "Der Zwischenspeicher des Abgleichs"
_SYSTEMS = {"Google Calendar": "Google Kalender", "PostgreSQL": _STORE, "Redis": _STORE}
#: Advoware names a field in quotes; EspoCRM as ``field: name``; our own refusals begin with it.
_FIELD = re.compile(r"['‚„\"](\w+)['‘“\"]|\bfield: ?(\w+)|^(\w+)(?: or \w+)?: ")


@dataclass(frozen=True)
class Failure:
    """A kind of failure: the class of its error, the code for the operator, and the sentence.

    Templates may use ``{system}`` and ``{field}``; ``about_field`` replaces the sentence if the field is known.
    """

    kind: type[Exception]
    code: str
    sentence: str
    about_field: str = ""


#: The first whose class fits.
FAILURES: tuple[Failure, ...] = (
    Failure(
        UpstreamTimeout,
        "SYS-02",
        "{system} hat nicht rechtzeitig geantwortet" + _AGAIN,
    ),
    Failure(Unavailable, "SYS-01", "{system} ist nicht erreichbar" + _AGAIN),
    Failure(
        AuthenticationFailed,
        "SYS-03",
        "{system} lehnt die Anmeldung des Abgleichs ab" + _OPERATOR,
    ),
    Failure(
        LoginRefused,
        "SYS-03",
        "Die Anmeldung des Abgleichs wird abgelehnt" + _OPERATOR,
    ),
    Failure(
        Forbidden,
        "SYS-04",
        "{system} verweigert dem Abgleich den Zugriff auf diesen Eintrag" + _OPERATOR,
    ),
    Failure(
        Conflict,
        "SYS-05",
        "Der Eintrag wurde gleichzeitig von jemand anderem geändert" + _AGAIN,
    ),
    Failure(NotFound, "SYS-06", "{system} kennt diesen Eintrag nicht"),
    Failure(
        ValidationFailed,
        "SYS-07",
        "{system} lehnt die Angaben ab; bitte die Angaben prüfen",
        "{system} lehnt die Angabe im Feld „{field}“ ab; bitte die Angabe prüfen",
    ),
    Failure(
        RateLimited,
        "SYS-08",
        "{system} nimmt im Augenblick keine weiteren Anfragen an" + _AGAIN,
    ),
    Failure(
        UnexpectedAnswer,
        "SYS-09",
        "{system} hat unverständlich geantwortet" + _AGAIN,
    ),
    Failure(
        SyncTokenExpired,
        "SYS-10",
        "{system} hat die Anfrage nicht ausgeführt" + _AGAIN,
    ),
    Failure(
        ForeignSystemError,
        "SYS-10",
        "{system} hat die Anfrage nicht ausgeführt" + _AGAIN,
    ),
    Failure(
        WriteProtected,
        "SYS-11",
        "Das Schreiben nach Advoware ist zurzeit abgeschaltet",
    ),
    Failure(
        ReadOnly,
        "SYS-18",
        "Es wird zurzeit nur gelesen und nichts geschrieben",
    ),
    Failure(
        RefusedBefore,
        "SYS-19",
        "Die Angaben wurden schon mehrmals abgelehnt; es wird später erneut versucht",
    ),
    Failure(
        NotBefore,
        "SYS-16",
        "Eine frühere Übertragung ist noch nicht sicher beendet" + _AGAIN,
    ),
    Failure(
        Paused,
        "SYS-17",
        "Der Abgleich ist zurzeit angehalten; er geht danach weiter",
    ),
    Failure(EntityBusy, "SYS-12", "Der Eintrag wird gerade abgeglichen" + _AGAIN),
    Failure(
        InvalidInput,
        "SYS-13",
        "Die Angaben sind so nicht verwendbar; bitte die Angaben prüfen",
        "Die Angabe im Feld „{field}“ ist so nicht verwendbar; bitte die Angabe prüfen",
    ),
    Failure(
        DatabaseUnusable,
        "SYS-14",
        "Die Einrichtung des Abgleichs ist unvollständig" + _OPERATOR,
    ),
    Failure(
        ConfigurationError,
        "SYS-14",
        "Die Einrichtung des Abgleichs ist unvollständig" + _OPERATOR,
    ),
    Failure(BitByLawError, "SYS-15", "Der Abgleich ist fehlgeschlagen" + _AGAIN),
    Failure(
        Exception,
        "SYS-99",
        "Der Abgleich ist auf einen Fehler im Programm gestoßen" + _OPERATOR,
    ),
)


def sentence_of(error: Exception) -> str:
    """What an error means, in one German sentence that ends with its code."""
    failure = next(item for item in FAILURES if isinstance(error, item.kind))
    system = getattr(error, "system", "")
    system_name = _SYSTEMS.get(system, system)
    label = LABELS.get(refused_field(error) or "")
    sentence = failure.sentence
    if failure.about_field and label:
        sentence = failure.about_field
    text = sentence.format(system=system_name, field=label)
    return f"{text} ({failure.code})."


def refused_field(error: Exception) -> str | None:
    """The name of the field that a refusal is about, as the system that refuses calls it; None if it does not say."""
    message = str(error)
    if isinstance(error, ForeignSystemError):
        message = error.reason
    found = _FIELD.search(message)
    if found is None:
        return None
    return next(filter(None, found.groups()), None)
