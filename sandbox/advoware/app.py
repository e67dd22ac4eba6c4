"""Twin of Advoware: configurator, security gateway and API in one server.

``python -m sandbox.advoware.app --port 4010`` serves it alone. It follows section 05 of the specification. Besides the
common control API (`sandbox.control`) there are these routes, which do what people do in the desktop program:

=============================================  =================================================================
``POST /__sandbox__/revoke-tokens``            every token handed out so far is refused from now on
``PUT /__sandbox__/beteiligte/{betNr}``        change anything, see `BeteiligteStore.edit`
``DELETE /__sandbox__/beteiligte/{betNr}``     delete a Beteiligter
``POST /__sandbox__/termine``                  add a Termin; a negative ``frNr`` in the body makes a derived entry
``PUT|DELETE /__sandbox__/termine/{frNr}``     change some attributes of a Termin, or delete it
``POST /__sandbox__/actions``                  ``{"action": "restore", "seconds": 60}``: a backup of that age is put
                                               back, numbers given out since are given out again;
                                               ``{"action": "copy_address", "betNr": 1, "id": 2, "to": 3}``: copy an
                                               address to Beteiligter 3, remark included;
                                               ``{"action": "leave_termin", "values": {...}}``: a Termin with
                                               values that nothing has checked
=============================================  =================================================================
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import re
import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sandbox.advoware.beteiligte import (
    ADRESSE,
    BANKVERBINDUNG,
    KOMMUNIKATION,
    BeteiligteStore,
    PartKind,
)
from sandbox.advoware.credentials import DEFAULT_CREDENTIALS, Credentials
from sandbox.advoware.records import (
    BERLIN,
    Record,
    RefusedError,
    RowIds,
    refuse_missing,
)
from sandbox.advoware.termine import TermineStore
from sandbox.alterations import RefusedAlterationError
from sandbox.control import (
    CONTROL_PREFIX,
    Clock,
    Handler,
    Route,
    Twin,
    body_of,
    main,
    routes_below,
)
from sandbox.firm.build import Employee, make_firm
from sandbox.firm.people import make_employees

DEFAULT_PORT: Final = 4010
API_PREFIX: Final = "/api/v1/advonet"
TOKEN_LIFETIME: Final = timedelta(minutes=55)
TIMESTAMP_TOLERANCE: Final = timedelta(minutes=5)
#: Kürzel of the person at the desktop program.
DESKTOP_USER: Final = "SB"

_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z")
_LOGIN_TEXTS: Final = (
    "AppID",
    "Kanzlei",
    "Database",
    "User",
    "Password",
    "Nonce",
    "HMAC512Signature",
    "RequestTimeStamp",
)
_LOGIN_NUMBERS: Final = ("Role", "Product")


class RestoreBackup(BaseModel):
    """A backup is put back."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["restore"]
    seconds: float = Field(ge=0)  #: how old it is


class CopyAddress(BaseModel):
    """An address is copied to another Beteiligter."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["copy_address"]
    betnr: int = Field(alias="betNr")
    id: int
    to: int  #: the other one's betNr


class LeaveTermin(BaseModel):
    """A Termin that nothing has checked comes from elsewhere."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["leave_termin"]
    values: dict[str, Any]


Action = RestoreBackup | CopyAddress | LeaveTermin
ACTIONS: Final[TypeAdapter[Action]] = TypeAdapter(
    Annotated[Action, Field(discriminator="action")],
)


def login_signature(
    product: int,
    app_id: str,
    nonce: str,
    timestamp: str,
    api_key: str,
) -> str:
    """The signature of a token request: base64 of HMAC-SHA-512 with the base64-decoded API key."""
    key = base64.b64decode(api_key)
    message = f"{product}:{app_id}:{nonce}:{timestamp}".encode()
    digest = hmac.digest(key, message, hashlib.sha512)
    return base64.b64encode(digest).decode()


class AdvowareTwin(Twin):
    """One firm's Advoware. ``empty`` leaves the employees, without whom nothing else could be entered."""

    name: ClassVar[str] = "advoware"
    default_port: ClassVar[int] = DEFAULT_PORT

    def __init__(
        self,
        *,
        seed: int = 1,
        empty: bool = False,
        clock: Clock | None = None,
        credentials: Credentials = DEFAULT_CREDENTIALS,
        list_answers: bool = False,
    ) -> None:
        """``list_answers``: a Beteiligter read by number comes as a list of one element, as some versions do [A]."""
        self.credentials = credentials
        self.list_answers = list_answers
        self.tokens: dict[str, datetime] = {}  #: token -> when it expires
        self.nonces: dict[str, datetime] = {}  #: nonce -> when it was used
        self.employees: tuple[Employee, ...] = ()
        self.beteiligte: BeteiligteStore
        self.termine: TermineStore
        super().__init__(seed=seed, empty=empty, clock=clock)

    def load_seed(self) -> None:
        """Start over: sample data, no tokens."""
        self.tokens.clear()
        self.nonces.clear()
        self.employees = make_employees(self.seed)
        kuerzel = [employee.kuerzel for employee in self.employees]
        self._row_ids = RowIds(self.seed)
        self.beteiligte = BeteiligteStore(self._row_ids, self.now)
        self.termine = TermineStore(self._row_ids, self.now, kuerzel)
        if not self.empty:
            today = self.now().astimezone(BERLIN).date()
            firm = make_firm(self.seed, today)
            self.beteiligte.load(firm.parties, DESKTOP_USER)
            self.termine.load(firm.appointments)

    def state(self) -> dict[str, Any]:
        """All data, and how many tokens are valid."""
        return {
            "beteiligte": self.beteiligte.all(),
            "termine": self.termine.all(),
            "mitarbeiter": self._employee_rows(),
            "valid_tokens": sum(
                expires > self.now() for expires in self.tokens.values()
            ),
        }

    def revoke_tokens(self) -> None:
        """Make every token handed out so far invalid."""
        self.tokens.clear()

    def error_response(self, status: int) -> web.Response:
        """German text for our own failures, nothing at all for the others, as the real system does."""
        if status == 500:
            return web.Response(
                status=status,
                text="Es ist ein unerwarteter Fehler aufgetreten.",
            )
        return web.Response(status=status)

    def refusal(
        self,
        request: web.Request,
        refused: RefusedAlterationError,
    ) -> web.Response:
        """German text that names the field, also with its value, or an empty body."""
        if refused.naming == "nothing":
            return web.Response(status=400)
        value = ""
        if refused.naming == "entry":
            value = f" ({refused.value})"
        return web.Response(
            status=400,
            text=f"Das Feld '{refused.key}' enthält einen ungültigen Wert{value}.",
        )

    def stored_object(
        self,
        request: web.Request,
        body: dict[str, Any],
    ) -> Mapping[str, Any] | None:
        """A Beteiligter or Termin that a PUT replaces as a whole."""
        named = request.match_info
        if request.method != "PUT" or "part_id" in named:
            return None
        if "betnr" in named:
            return self.beteiligte.peek(_number(request, "betnr"))
        return self.termine.peek(body.get("frNr"))

    def routes(self) -> list[web.RouteDef]:
        """Configurator, security gateway and API."""
        beteiligter = "Beteiligte/{betnr:\\d+}"
        api: list[Route] = [
            ("GET", "Mitarbeiter", self._list_employees),
            ("GET", "Beteiligte", self._find_beteiligte),
            ("POST", "Beteiligte", self._create_beteiligter),
            ("GET", beteiligter, self._get_beteiligter),
            ("PUT", beteiligter, self._replace_beteiligter),
            ("DELETE", beteiligter, self._refuse_delete("Beteiligte")),
            ("GET", "Termine", self._find_termine),
            ("POST", "Termine", self._create_termin),
            ("PUT", "Termine", self._replace_termin),
            ("DELETE", "Termine", self._delete_termin),
            *self._part_routes(beteiligter, "Kommunikationen", KOMMUNIKATION),
            *self._part_routes(beteiligter, "Adressen", ADRESSE),
            *self._part_routes(beteiligter, "Bankverbindungen", BANKVERBINDUNG),
        ]
        table: list[Route] = []
        for method, path, handler in api:
            table.append((method, path, _answering(self._authorised(handler))))
        return [
            web.get("/AdvonetConfigurator/api/Url", _answering(self._discover)),
            web.post("/api/v1/Token", _answering(self._issue_token)),
            *routes_below(API_PREFIX, table),
        ]

    def _part_routes(
        self,
        beteiligter: str,
        resource: str,
        kind: PartKind,
    ) -> list[Route]:
        """The routes of one of a Beteiligter's lists."""
        parts = f"{beteiligter}/{resource}"
        part = f"{parts}/{{part_id:\\d+}}"
        routes: list[Route] = [
            ("POST", parts, self._add_part(kind)),
            ("DELETE", part, self._refuse_delete(resource)),
        ]
        if kind.writable_on_put:
            routes.append(("PUT", part, self._change_part(kind)))
        return routes

    def control_routes(self) -> list[web.RouteDef]:
        """What people do in the desktop program."""
        beteiligter = "beteiligte/{betnr:\\d+}"
        termin = "termine/{frnr:-?\\d+}"
        table: list[Route] = [
            ("POST", "revoke-tokens", self._desktop_revoke_tokens),
            ("PUT", beteiligter, _answering(self._desktop_edit_beteiligter)),
            ("DELETE", beteiligter, _answering(self._desktop_remove_beteiligter)),
            ("POST", "termine", _answering(self._desktop_create_termin)),
            ("PUT", termin, _answering(self._desktop_edit_termin)),
            ("POST", "actions", _answering(self._act)),
            ("DELETE", termin, _answering(self._desktop_remove_termin)),
        ]
        return routes_below(CONTROL_PREFIX, table)

    # -- configurator and security gateway ----------------------------------------------------------------------

    async def _discover(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("Kanzlei") != self.credentials.kanzlei:
            raise RefusedError(404, "Die angegebene Kanzlei ist nicht registriert.")
        origin = str(request.url.origin())
        return web.json_response(
            {
                "relayUrl": f"{origin}/",
                "connectorUrl": f"{origin}/",
                "securityGateway": origin,
            },
        )

    async def _issue_token(self, request: web.Request) -> web.StreamResponse:
        body = await _json_object(request)
        self._check_login_shape(body)
        self._check_signature(body)
        self._check_login(body)
        token = secrets.token_urlsafe(48)
        expires = self.now() + TOKEN_LIFETIME
        self.tokens[token] = expires
        # 7 fractional digits, as .NET prints them.
        return web.json_response(
            {
                "access_token": token,
                "expiration_utc": f"{expires:%Y-%m-%dT%H:%M:%S.%f}0Z",
            },
        )

    def _check_login_shape(self, body: Record) -> None:
        missing = []
        for field in _LOGIN_TEXTS:
            if not _is_text(body.get(field)):
                missing.append(field)
        for field in _LOGIN_NUMBERS:
            if not isinstance(body.get(field), int):
                missing.append(field)
        refuse_missing(missing)
        try:
            uuid.UUID(body["Nonce"])
        except ValueError:
            raise RefusedError(400, "Die Nonce ist keine gültige GUID.") from None

    def _check_signature(self, body: Record) -> None:
        """Timestamp, application, signature, nonce: in this order, so that only signed requests use up a nonce."""
        stamp = body["RequestTimeStamp"]
        if not _TIMESTAMP.fullmatch(stamp):
            raise RefusedError(
                400,
                "Der Zeitstempel muss eine UTC-Zeit im ISO-Format mit 'Z' sein.",
            )
        now = self.now()
        if abs(_utc_time(stamp) - now) > TIMESTAMP_TOLERANCE:
            raise RefusedError(
                401,
                "Der Zeitstempel der Anfrage liegt außerhalb des zulässigen Bereichs.",
            )
        if body["AppID"] != self.credentials.app_id:
            raise RefusedError(401, "Die Anwendung ist nicht registriert.")
        signature = login_signature(
            body["Product"],
            body["AppID"],
            body["Nonce"],
            stamp,
            self.credentials.api_key,
        )
        given = body["HMAC512Signature"].encode()
        if not hmac.compare_digest(signature.encode(), given):
            raise RefusedError(401, "Die Signatur der Anfrage ist ungültig.")
        self._use_up_nonce(body["Nonce"], now)

    def _use_up_nonce(self, nonce: str, now: datetime) -> None:
        for known, used in list(self.nonces.items()):
            if now - used > 2 * TIMESTAMP_TOLERANCE:
                del self.nonces[known]
        if nonce in self.nonces:
            raise RefusedError(401, "Die Nonce wurde bereits verwendet.")
        self.nonces[nonce] = now

    def _check_login(self, body: Record) -> None:
        expected = self.credentials
        if body["Product"] != expected.product or body["Role"] != expected.role:
            raise RefusedError(
                403,
                "Das Produkt ist für diese Kanzlei nicht freigeschaltet.",
            )
        if body["Kanzlei"] != expected.kanzlei:
            raise RefusedError(
                403,
                "Die Anwendung ist für diese Kanzlei nicht freigeschaltet.",
            )
        if body["Database"] != expected.database:
            raise RefusedError(403, "Die Datenbank ist nicht angemeldet.")
        is_user = body["User"].casefold() == expected.user.casefold()
        if not is_user or body["Password"] != expected.password:
            raise RefusedError(401, "Falscher Name oder falsches Kennwort.")

    def _authorised(self, handler: Handler) -> Handler:
        """Only with a valid token; a token that is unknown or expired is refused without a word."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("Authorization", "")
            scheme, _, token = given.partition(" ")
            if scheme != "Bearer":
                raise RefusedError(401, "Der Benutzer ist nicht angemeldet.")
            expires = self.tokens.get(token)
            if expires is None or expires <= self.now():
                raise RefusedError(401, "")
            return await handler(request)

        return guarded

    # -- API ----------------------------------------------------------------------------------------------------

    @property
    def _api_user(self) -> str:
        return self.credentials.user.upper()

    def _employee_rows(self) -> list[Record]:
        return [
            {
                "rowId": RowIds(number).next(),
                "kuerzel": employee.kuerzel,
                "name": employee.name,
                "aktiv": employee.active,
            }
            for number, employee in enumerate(self.employees)
        ]

    async def _list_employees(self, request: web.Request) -> web.StreamResponse:
        wanted = request.query.get("aktiv", "").lower()
        if wanted not in {"", "true", "false"}:
            raise RefusedError(400, "Der Parameter 'aktiv' muss true oder false sein.")
        rows = self._employee_rows()
        if wanted:
            is_active = wanted == "true"
            rows = [row for row in rows if row["aktiv"] == is_active]
        return web.json_response(rows)

    async def _find_beteiligte(self, request: web.Request) -> web.StreamResponse:
        found = self.beteiligte.find(request.query)
        return web.json_response(found)

    async def _create_beteiligter(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            self.beteiligte.create(await _json_object(request), self._api_user),
            status=201,
        )

    async def _get_beteiligter(self, request: web.Request) -> web.StreamResponse:
        record = self.beteiligte.get(_number(request, "betnr"))
        if self.list_answers:
            return web.json_response([record])
        return web.json_response(record)

    async def _replace_beteiligter(self, request: web.Request) -> web.StreamResponse:
        body = await _json_object(request)
        return web.json_response(
            self.beteiligte.replace(_number(request, "betnr"), body, self._api_user),
        )

    def _add_part(self, kind: PartKind) -> Handler:
        async def add(request: web.Request) -> web.StreamResponse:
            body = await _json_object(request)
            return web.json_response(
                self.beteiligte.add_part(_number(request, "betnr"), kind, body),
                status=201,
            )

        return add

    def _change_part(self, kind: PartKind) -> Handler:
        async def change(request: web.Request) -> web.StreamResponse:
            body = await _json_object(request)
            betnr = _number(request, "betnr")
            part_id = _number(request, "part_id")
            return web.json_response(
                self.beteiligte.change_part(betnr, kind, part_id, body),
            )

        return change

    def _refuse_delete(self, resource: str) -> Handler:
        async def refuse(_request: web.Request) -> web.StreamResponse:
            raise RefusedError(
                403,
                f"Das Löschen ist über die Schnittstelle nicht zulässig ({resource}).",
            )

        return refuse

    async def _find_termine(self, request: web.Request) -> web.StreamResponse:
        found = self.termine.find(request.query)
        return web.json_response(found)

    async def _create_termin(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            self.termine.create(await _json_object(request)),
            status=201,
        )

    async def _replace_termin(self, request: web.Request) -> web.StreamResponse:
        body = await _json_object(request)
        fr_nr = body.get("frNr")
        if not isinstance(fr_nr, int):
            raise RefusedError(400, "Die Angabe 'frNr' fehlt.")
        termin = self.termine.replace(fr_nr, body)
        return web.json_response(termin)

    async def _delete_termin(self, request: web.Request) -> web.StreamResponse:
        """Answers with an empty body; ``frNr`` instead of ``frnr`` counts as missing."""
        fr_nr = request.query.get("frnr", "")
        if not re.fullmatch(r"-?\d{1,12}", fr_nr):
            raise RefusedError(
                400,
                "Der Parameter 'frnr' fehlt oder ist keine ganze Zahl.",
            )
        self.termine.remove(int(fr_nr))
        return web.Response()

    # -- desktop program ----------------------------------------------------------------------------------------

    async def _desktop_revoke_tokens(self, _request: web.Request) -> web.StreamResponse:
        self.revoke_tokens()
        return web.json_response({})

    async def _desktop_edit_beteiligter(
        self,
        request: web.Request,
    ) -> web.StreamResponse:
        body = await _json_object(request)
        return web.json_response(
            self.beteiligte.edit(_number(request, "betnr"), body, DESKTOP_USER),
        )

    async def _desktop_remove_beteiligter(
        self,
        request: web.Request,
    ) -> web.StreamResponse:
        self.beteiligte.remove(_number(request, "betnr"))
        return web.json_response({})

    async def _act(self, request: web.Request) -> web.StreamResponse:
        try:
            action = ACTIONS.validate_json(await request.read())
        except ValidationError as error:
            details = json.loads(error.json(include_url=False))
            return web.json_response({"error": details}, status=400)
        if isinstance(action, CopyAddress):
            copied = self.beteiligte.copy_address(action.betnr, action.id, action.to)
            return web.json_response(copied)
        if isinstance(action, LeaveTermin):
            termin = self.termine.leave_behind(action.values)
            return web.json_response(termin)
        moment = self.now() - timedelta(seconds=action.seconds)
        undone = self.beteiligte.go_back(moment)
        undone += self.termine.go_back(moment)
        return web.json_response({"undone": undone})

    async def _desktop_create_termin(self, request: web.Request) -> web.StreamResponse:
        body = await _json_object(request)
        termin = self.termine.create(body, body.get("frNr"))
        return web.json_response(termin)

    async def _desktop_edit_termin(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            self.termine.edit(_number(request, "frnr"), await _json_object(request)),
        )

    async def _desktop_remove_termin(self, request: web.Request) -> web.StreamResponse:
        self.termine.remove(_number(request, "frnr"))
        return web.json_response({})


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return value != ""


def _answering(handler: Handler) -> Handler:
    """Turn a refusal into the answer that Advoware gives: plain German text, or nothing."""

    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RefusedError as refusal:
            if refusal.text:
                return web.Response(status=refusal.status, text=refusal.text)
            return web.Response(status=refusal.status)

    return answered


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


async def _json_object(request: web.Request) -> Record:
    try:
        body = json.loads(await body_of(request), parse_constant=_refuse_constant)
    except ValueError:
        raise RefusedError(400, "Die Anfrage enthält kein gültiges JSON.") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "Die Anfrage muss ein JSON-Objekt enthalten.")
    return body


def _utc_time(stamp: str) -> datetime:
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        raise RefusedError(400, "Der Zeitstempel ist keine gültige Zeit.") from None


def _number(request: web.Request, name: str) -> int:
    return int(request.match_info[name])


def _from_arguments(arguments: argparse.Namespace) -> AdvowareTwin:
    return AdvowareTwin(
        seed=arguments.seed,
        empty=arguments.empty,
        list_answers=arguments.list_answers,
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser(
        prog="python -m sandbox.advoware.app",
        description="Twin of Advoware",
    )
    options.add_argument(
        "--list-answers",
        action="store_true",
        help="answer a Beteiligter by number as a one-element list",
    )
    main(_from_arguments, options, DEFAULT_PORT)
