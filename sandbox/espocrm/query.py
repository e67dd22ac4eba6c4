"""Lists: ``where`` filters, order, pages and ``select``, with the comparison rules of MariaDB underneath.

A comparison with an empty column is never true, not even "not equals"; texts compare without regard to case and
accents.
"""

from __future__ import annotations

import json
import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.espocrm.entities import Entity, Field
from sandbox.espocrm.php import ApiError, parse_query, php_int

DEFAULT_PAGE = 20
MAX_PAGE = 200
MAX_TEXT_IN_LIST = 10_000

Row = Mapping[str, Any]
Condition = Callable[[Row], bool]
#: All values of an attribute that a filter has to look at: one, or every address of a record.
ValuesOf = Callable[[Row, str], list[Any]]
#: Ids of the records that a link of a row leads to.
LinkedIds = Callable[[Row, str], set[str]]

_LEADING_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d+)?")
_NOT_SUPPORTED = ("q", "textFilter", "primaryFilter", "boolFilterList", "filterList")


_ALWAYS_SHOWN = frozenset({"id", "name", "createdById", "assignedUserId"})
_LINK_KINDS = frozenset({"linkedWith", "notLinkedWith", "isLinked", "isNotLinked"})
_ITEM_PARAMETERS = frozenset(
    {"type", "attribute", "field", "value", "dateTime", "date", "timeZone"},
)


@dataclass(frozen=True)
class SearchParams:
    """What a list request asks for."""

    where: list[Any]
    order_by: str | None
    descending: bool | None  #: None: not given
    offset: int
    max_size: int
    select: frozenset[str] | None

    def shows(self, attribute: str) -> bool:
        """Whether the rows of the answer have this attribute."""
        if self.select is None or attribute in _ALWAYS_SHOWN:
            return True
        return attribute in self.select


def read_search_params(query_string: str) -> SearchParams:
    """Parse the query string of a list request.

    Raises:
        ApiError: 403 for a page of more than 200 rows, 400 for what cannot be understood.
    """
    raw = _raw_parameters(query_string)
    for name in _NOT_SUPPORTED:
        if raw.get(name):
            raise ApiError(
                400,
                f"The EspoCRM twin does not know the search parameter '{name}'.",
            )
    descending = _is_descending(raw.get("order"))
    return SearchParams(
        where=_where(raw.get("where")),
        order_by=_order_by(raw.get("orderBy")),
        descending=descending,
        select=_selected(raw.get("select")),
        offset=_whole(raw.get("offset"), "offset", 0),
        max_size=_page_size(raw.get("maxSize")),
    )


def _where(where: Any) -> list[Any]:
    if not where:
        return []
    if not isinstance(where, list):
        raise ApiError(400, "where should be array.")
    return where


def _order_by(name: Any) -> str | None:
    if name is None or isinstance(name, str):
        return name
    raise ApiError(400, "orderBy should be string.")


def _is_descending(order: Any) -> bool | None:
    if order is None:
        return None
    if order not in ("ASC", "DESC"):
        raise ApiError(400, "order value is bad.")
    return bool(order == "DESC")


def _raw_parameters(query_string: str) -> dict[str, Any]:
    """The parameters by their names in ``searchParams``, in which they may be given as JSON."""
    query = parse_query(query_string)
    if "searchParams" not in query:
        return _from_plain_parameters(query)
    try:
        raw = json.loads(query["searchParams"])
    except (TypeError, ValueError) as error:
        raise ApiError(400, "Invalid search params JSON.") from error
    if not isinstance(raw, dict):
        raise ApiError(400, "Invalid search params JSON.")
    return raw


def _selected(select: Any) -> frozenset[str] | None:
    if select is None:
        return None
    if not isinstance(select, list):
        raise ApiError(400, "select should be array.")
    for name in select:
        if not isinstance(name, str):
            raise ApiError(400, "select should be array.")
    return frozenset(select)


def _from_plain_parameters(query: Mapping[str, Any]) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "where": _plain_where(query),
        "orderBy": _text(query, "orderBy"),
    }
    for name in _NOT_SUPPORTED:
        raw[name] = query.get(name)
    select = _text(query, "attributeSelect") or _text(query, "select")
    if select is not None:
        raw["select"] = select.split(",")
    order = _text(query, "order")
    if order is not None:
        raw["order"] = order.upper()
    for name in ("maxSize", "offset"):
        number = _text(query, name)
        if number is not None:
            raw[name] = php_int(number)
    return raw


def _plain_where(query: Mapping[str, Any]) -> list[Any] | None:
    """PHP makes an object of ``where[0][type]=...``, with the positions as names."""
    where = query.get("whereGroup") or query.get("where")
    if isinstance(where, dict):
        return list(where.values())
    if isinstance(where, list):
        return where
    return None


def _text(query: Mapping[str, Any], name: str) -> str | None:
    """A parameter that is a text with something in it."""
    value = query.get(name)
    if isinstance(value, str) and value:
        return value
    return None


def _whole(value: Any, name: str, default: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int):
        raise ApiError(400, f"{name} should be int.")
    return value


def _page_size(value: Any) -> int:
    size = _whole(value, "maxSize", DEFAULT_PAGE)
    if size > MAX_PAGE:
        raise ApiError(
            403,
            f"Max size should not exceed {MAX_PAGE}. Use offset and limit.",
        )
    return size


class Query:
    """Filters and sorts the rows of one entity."""

    def __init__(
        self,
        entity: Entity,
        values_of: ValuesOf,
        linked_ids: LinkedIds,
    ) -> None:
        self._entity = entity
        self._values_of = values_of
        self._linked_ids = linked_ids

    def select(self, rows: Iterable[Row], params: SearchParams) -> list[Row]:
        """The rows that pass, in order, all pages.

        Raises:
            ApiError: 400 for an unknown attribute, filter type or order.
        """
        passes = self._group("and", params.where)
        selected = [row for row in rows if passes(row)]
        return self._ordered(selected, params)

    def page(self, row: Row, params: SearchParams) -> dict[str, Any]:
        """One row as the list shows it: long texts cut, narrowed to what was selected."""
        shown = {}
        for name, value in row.items():
            if params.shows(name):
                shown[name] = _cut(value)
        return shown

    # -- order ------------------------------------------------------------------------------------------------

    def _ordered(self, rows: list[Row], params: SearchParams) -> list[Row]:
        attribute, order = self._entity.order
        descending = params.descending
        if params.order_by:
            attribute = params.order_by
        if descending is None:
            is_default = params.order_by is None
            descending = is_default and order == "DESC"
        column = self._order_attribute(attribute)

        def place(row: Row) -> tuple[bool, float, str, str]:
            return (*_sort_key(row[column]), str(row["id"]))

        return sorted(rows, key=place, reverse=descending)

    def _order_attribute(self, name: str) -> str:
        """The attribute by which a field of this name is sorted: of a link, the second one."""
        attribute = name
        for link in self._entity.link_fields:
            if link.name == name:
                attribute = link.attributes[1]
        if attribute not in self._entity.list_attributes:
            raise ApiError(400, f"Order by non-existing field '{attribute}'.")
        return attribute

    # -- filters ----------------------------------------------------------------------------------------------

    def _group(self, kind: str, items: Any) -> Condition:
        if not isinstance(items, list):
            raise ApiError(400, "Bad 'value'.")
        conditions = [self._condition(item) for item in items]

        def all_pass(row: Row) -> bool:
            return all(passes(row) for passes in conditions)

        def any_passes(row: Row) -> bool:
            return any(passes(row) for passes in conditions)

        if kind == "or" and conditions:
            return any_passes
        return all_pass

    def _condition(self, item: Any) -> Condition:
        _check_item(item)
        kind = item["type"]
        value = item.get("value")
        if kind in {"and", "or"}:
            if value is None:
                value = []
            return self._group(kind, value)
        attribute = item.get("attribute") or item.get("field")
        if not attribute:
            raise ApiError(400, "No 'attribute' in where item.")
        if kind in _LINK_KINDS:
            return self._link_condition(kind, attribute, value)
        field = self._filter_field(attribute)
        return self._comparison(kind, attribute, field, value)

    def _filter_field(self, attribute: str) -> Field:
        field = self._entity.field_of.get(attribute)
        if field is not None:
            return field
        if attribute in {"id", "deleted"}:
            return Field(name=attribute)
        raise ApiError(400, f"Not existing attribute '{attribute}' in where.")

    def _link_condition(self, kind: str, link: str, value: Any) -> Condition:
        if not self._has_link(link):
            raise ApiError(400, f"Not existing relation '{link}' in where.")
        if kind in {"isLinked", "isNotLinked"}:

            def is_linked(row: Row) -> bool:
                return bool(self._linked_ids(row, link))

            return _as_wanted(is_linked, negative=kind == "isNotLinked")
        values = value
        if not isinstance(value, list):
            values = [value]
        wanted = set(map(str, values))

        def is_linked_with(row: Row) -> bool:
            return not wanted.isdisjoint(self._linked_ids(row, link))

        return _as_wanted(is_linked_with, negative=kind == "notLinkedWith")

    def _has_link(self, name: str) -> bool:
        names = {link for link, _, _ in self._entity.links}
        for field in self._entity.link_fields:
            if field.type == "link":
                names.add(field.name)
        return name in names

    def _comparison(
        self,
        kind: str,
        attribute: str,
        field: Field,
        value: Any,
    ) -> Condition:
        if kind in {"isNull", "isNotNull"}:

            def holds_something(row: Row) -> bool:
                return bool(self._held(row, attribute))

            return _as_wanted(holds_something, negative=kind == "isNull")
        if kind in {"isTrue", "isFalse"}:
            wanted = [kind == "isTrue"]
            return lambda row: self._values_of(row, attribute) == wanted
        test = _positive_test(kind, field, value)
        negative = kind in _NEGATIVE_KINDS
        # An address filter of EspoCRM is a sub-query, which knows no "unknown"; a column does.
        passes_empty = negative and field.type in {"email", "phone"}

        def passes(row: Row) -> bool:
            values = self._held(row, attribute)
            if not values:
                return passes_empty
            for held in values:
                if test(_comparable(field, held)):
                    return not negative
            return negative

        return passes

    def _held(self, row: Row, attribute: str) -> list[Any]:
        """What a row holds of an attribute, empty values left out."""
        values = self._values_of(row, attribute)
        return [value for value in values if value is not None]


def _check_item(item: Any) -> None:
    if not isinstance(item, dict) or not item.get("type"):
        raise ApiError(400, "No 'type' in where item.")
    if item.get("dateTime") or item.get("date"):
        raise ApiError(
            400,
            "The EspoCRM twin takes times in UTC only, without 'dateTime', 'date' and 'timeZone'.",
        )
    unknown = set(item) - _ITEM_PARAMETERS
    if unknown:
        raise ApiError(400, f"Unknown parameter '{min(unknown)}'.")


def _as_wanted(test: Condition, *, negative: bool) -> Condition:
    """A test, or its opposite."""
    if not negative:
        return test
    return lambda row: not test(row)


def _positive_test(kind: str, field: Field, value: Any) -> Callable[[Any], bool]:
    """What a filter asks of one held value; a filter that says "not" wants it to fail."""
    if kind in {"in", "notIn"}:
        return _test_of_list(kind, field, value)
    if kind == "between":
        return _test_of_range(field, value)
    if kind in _PATTERNS:
        return _test_of_pattern(kind, value)
    if kind not in _ORDERINGS:
        raise ApiError(400, f"Unknown where item type '{kind}'.")
    if isinstance(value, list) and kind in _EQUALITIES:
        return _test_of_list(kind, field, value)
    if value is None or isinstance(value, list | dict):
        raise ApiError(400, f"Bad where item '{kind}'.")
    return _test_of_order(kind, field, value)


def _test_of_order(kind: str, field: Field, value: Any) -> Callable[[Any], bool]:
    bound = _comparable(field, value)
    compare = _ORDERINGS[kind]
    return lambda held: bool(compare(held, bound))


def _test_of_pattern(kind: str, value: Any) -> Callable[[Any], bool]:
    text = value
    if value is None:
        text = ""
    pattern = _like(_PATTERNS[kind].format(text))
    return lambda held: pattern.fullmatch(str(held)) is not None


def _test_of_list(kind: str, field: Field, value: Any) -> Callable[[Any], bool]:
    if not isinstance(value, list):
        raise ApiError(400, f"Bad where item '{kind}'.")
    wanted = [_comparable(field, entry) for entry in value]
    return lambda held: held in wanted


def _test_of_range(field: Field, value: Any) -> Callable[[Any], bool]:
    if not isinstance(value, list) or len(value) < 2:
        raise ApiError(400, "Bad where item 'between'.")
    low, high = value[:2]
    lowest = _comparable(field, low)
    highest = _comparable(field, high)
    return lambda held: bool(lowest <= held <= highest)


_NEGATIVE_KINDS = frozenset({"notEquals", "notIn", "notLike", "notContains", "notOn"})
_EQUALITIES = frozenset({"equals", "notEquals", "on", "notOn"})
_PATTERNS = {
    "like": "{}",
    "notLike": "{}",
    "contains": "%{}%",
    "notContains": "%{}%",
    "startsWith": "{}%",
    "endsWith": "%{}",
}
_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": operator.eq,
    "on": operator.eq,
    "notEquals": operator.eq,
    "notOn": operator.eq,
    "greaterThan": operator.gt,
    "after": operator.gt,
    "greaterThanOrEquals": operator.ge,
    "lessThan": operator.lt,
    "before": operator.lt,
    "lessThanOrEquals": operator.le,
}


def _comparable(field: Field, value: Any) -> Any:
    """A value in the form in which MariaDB compares it with a column of this field's type."""
    if field.type in {"int", "bool"}:
        return _number(value)
    text = str(value)
    if field.type == "datetime" and len(text) == 10:
        return f"{text} 00:00:00"
    return _collated(text)


def _number(value: Any) -> float:
    """A number as it is; of a text, the number it begins with."""
    if isinstance(value, bool | int | float):
        return float(value)
    number = _LEADING_NUMBER.match(str(value))
    if number:
        return float(number.group())
    return 0.0


def _collated(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.rstrip(" ")).casefold()
    if folded.isascii():
        return folded
    return "".join(char for char in folded if not unicodedata.combining(char))


def _like(pattern: str) -> re.Pattern[str]:
    wildcards = {"%": ".*", "_": "."}
    expression = ""
    for char in _collated(pattern):
        expression += wildcards.get(char) or re.escape(char)
    return re.compile(expression, re.DOTALL)


def _sort_key(value: Any) -> tuple[bool, float, str]:
    if value is None:
        return (False, 0.0, "")
    if isinstance(value, bool | int | float):
        return (True, float(value), "")
    return (True, 0.0, _collated(str(value)))


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_TEXT_IN_LIST]
    return value
