"""Lists: ``where`` filters, order, pages and ``select``, with the comparison rules of MariaDB underneath.

A comparison with an empty column is never true, not even "not equals"; texts compare without regard to case and
accents.
"""

from __future__ import annotations

import json
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
#: All values of an attribute that a filter has to look at: one, or every address of a record.
ValuesOf = Callable[[Row, str], list[Any]]
#: Ids of the records that a link of a row leads to.
LinkedIds = Callable[[Row, str], set[str]]

_LEADING_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d+)?")
_NOT_SUPPORTED = ("q", "textFilter", "primaryFilter", "boolFilterList", "filterList")


_LINK_KINDS = frozenset({"linkedWith", "notLinkedWith", "isLinked", "isNotLinked"})
_ITEM_PARAMETERS = frozenset(
    {"type", "attribute", "field", "value", "dateTime", "date", "timeZone"}
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


def read_search_params(query_string: str) -> SearchParams:
    """Parse the query string of a list request.

    Raises:
        ApiError: 403 for a page of more than 200 rows, 400 for what cannot be understood.
    """
    raw = _raw_parameters(query_string)
    for name in _NOT_SUPPORTED:
        if raw.get(name):
            raise ApiError(
                400, f"The EspoCRM twin does not know the search parameter '{name}'."
            )
    descending = _is_descending(raw.get("order"))
    where = raw.get("where") or []
    if not isinstance(where, list):
        raise ApiError(400, "where should be array.")
    order_by = raw.get("orderBy")
    if order_by is not None and not isinstance(order_by, str):
        raise ApiError(400, "orderBy should be string.")
    select = _selected(raw.get("select"))
    return SearchParams(
        where=where,
        order_by=order_by,
        descending=descending,
        offset=_whole(raw.get("offset"), "offset", 0),
        max_size=_page_size(raw.get("maxSize")),
        select=select,
    )


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
    raw = {name: query[name] for name in _NOT_SUPPORTED if name in query}
    raw["where"] = _plain_where(query)
    raw["orderBy"] = _text(query, "orderBy")
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
            403, f"Max size should not exceed {MAX_PAGE}. Use offset and limit."
        )
    return size


class Query:
    """Filters and sorts the rows of one entity."""

    def __init__(
        self, entity: Entity, values_of: ValuesOf, linked_ids: LinkedIds
    ) -> None:
        self._entity = entity
        self._values_of = values_of
        self._linked_ids = linked_ids

    def select(self, rows: Iterable[Row], params: SearchParams) -> list[Row]:
        """The rows that pass, in order, all pages.

        Raises:
            ApiError: 400 for an unknown attribute, filter type or order.
        """
        condition = self._group("and", params.where)
        return self._ordered([row for row in rows if condition(row)], params)

    def page(self, row: Row, params: SearchParams) -> dict[str, Any]:
        """One row as the list shows it: long texts cut, narrowed to what was selected."""
        names: Iterable[str] = row
        if params.select is not None:
            wanted = params.select | {"id", "name", "createdById", "assignedUserId"}
            names = [name for name in row if name in wanted]
        return {name: _cut(row[name]) for name in names}

    # -- order ------------------------------------------------------------------------------------------------

    def _ordered(self, rows: list[Row], params: SearchParams) -> list[Row]:
        default_attribute, default_order = self._entity.order
        descending = params.descending
        if descending is None:
            is_default = params.order_by is None
            descending = is_default and default_order == "DESC"
        attribute = self._order_attribute(params.order_by or default_attribute)
        by_id = sorted(rows, key=lambda row: str(row["id"]), reverse=descending)
        return sorted(
            by_id, key=lambda row: _sort_key(row[attribute]), reverse=descending
        )

    def _order_attribute(self, name: str) -> str:
        """The attribute by which a field of this name is sorted: of a link, the second one."""
        attribute = name
        for field in self._entity.all_fields:
            if field.name == name and field.type in {"link", "linkParent"}:
                attribute = field.attributes[1]
        if attribute not in self._entity.list_attributes:
            raise ApiError(400, f"Order by non-existing field '{attribute}'.")
        return attribute

    # -- filters ----------------------------------------------------------------------------------------------

    def _group(self, kind: str, items: Any) -> Callable[[Row], bool]:
        if not isinstance(items, list):
            raise ApiError(400, "Bad 'value'.")
        conditions = [self._condition(item) for item in items]
        passes = all
        if kind == "or" and conditions:
            passes = any
        return lambda row: passes(condition(row) for condition in conditions)

    def _condition(self, item: Any) -> Callable[[Row], bool]:
        _check_item(item)
        kind = item["type"]
        value = item.get("value")
        if kind in {"and", "or"}:
            members = [] if value is None else value
            return self._group(kind, members)
        attribute = item.get("attribute") or item.get("field")
        if not attribute:
            raise ApiError(400, "No 'attribute' in where item.")
        if kind in _LINK_KINDS:
            return self._link_condition(kind, attribute, value)
        field = self._filter_field(attribute)
        return self._comparison(kind, attribute, field, value)

    def _filter_field(self, attribute: str) -> Field:
        if attribute in {"id", "deleted"}:
            return self._entity.field_of.get(attribute) or Field(name=attribute)
        field = self._entity.field_of.get(attribute)
        if field is None:
            raise ApiError(400, f"Not existing attribute '{attribute}' in where.")
        return field

    def _link_condition(
        self, kind: str, link: str, value: Any
    ) -> Callable[[Row], bool]:
        known = {name for name, _, _ in self._entity.links}
        for field in self._entity.all_fields:
            if field.type == "link":
                known.add(field.name)
        if link not in known:
            raise ApiError(400, f"Not existing relation '{link}' in where.")
        if kind in {"isLinked", "isNotLinked"}:
            is_wanted = kind == "isLinked"
            return lambda row: bool(self._linked_ids(row, link)) == is_wanted
        values = value if isinstance(value, list) else [value]
        wanted = {str(entry) for entry in values}
        is_wanted = kind == "linkedWith"
        return lambda row: bool(self._linked_ids(row, link) & wanted) == is_wanted

    def _comparison(
        self, kind: str, attribute: str, field: Field, value: Any
    ) -> Callable[[Row], bool]:
        if kind in {"isNull", "isNotNull"}:
            may_hold = kind == "isNotNull"
            return lambda row: bool(self._held(row, attribute)) == may_hold
        if kind in {"isTrue", "isFalse"}:
            wanted = [kind == "isTrue"]
            return lambda row: self._values_of(row, attribute) == wanted
        test, negative = _test(kind, field, value)

        def passes(row: Row) -> bool:
            values = self._held(row, attribute)
            if not values:
                # An address filter of EspoCRM is a sub-query, which knows no "unknown"; a column does.
                return negative and field.type in {"email", "phone"}
            return any(test(_comparable(field, held)) for held in values) != negative

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


def _test(kind: str, field: Field, value: Any) -> tuple[Callable[[Any], bool], bool]:
    """A test of one held value, and whether the filter wants it to fail."""
    negative = kind in {"notEquals", "notIn", "notLike", "notContains", "notOn"}
    return _positive_test(kind, field, value), negative


def _positive_test(kind: str, field: Field, value: Any) -> Callable[[Any], bool]:
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
    bound = _comparable(field, value)
    compare = _ORDERINGS[kind]
    return lambda held: compare(held, bound)


def _test_of_pattern(kind: str, value: Any) -> Callable[[Any], bool]:
    text = "" if value is None else value
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
    low = _comparable(field, value[0])
    high = _comparable(field, value[1])
    return lambda held: bool(low <= held <= high)


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
    "equals": lambda held, bound: bool(held == bound),
    "on": lambda held, bound: bool(held == bound),
    "notEquals": lambda held, bound: bool(held == bound),
    "notOn": lambda held, bound: bool(held == bound),
    "greaterThan": lambda held, bound: bool(held > bound),
    "after": lambda held, bound: bool(held > bound),
    "greaterThanOrEquals": lambda held, bound: bool(held >= bound),
    "lessThan": lambda held, bound: bool(held < bound),
    "before": lambda held, bound: bool(held < bound),
    "lessThanOrEquals": lambda held, bound: bool(held <= bound),
}


def _comparable(field: Field, value: Any) -> Any:
    """A value in the form in which MariaDB compares it with a column of this field's type."""
    if field.type in {"int", "bool"}:
        return _number(value)
    if field.type == "datetime" and len(str(value)) == 10:
        return f"{value} 00:00:00"
    return _collated(str(value))


def _number(value: Any) -> float:
    """A number as it is; of a text, the number it begins with."""
    if isinstance(value, bool | int | float):
        return float(value)
    number = _LEADING_NUMBER.match(str(value))
    if number:
        return float(number.group())
    return 0.0


def _collated(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.rstrip(" ")).casefold()
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def _like(pattern: str) -> re.Pattern[str]:
    wildcards = {"%": ".*", "_": "."}
    parts = [wildcards.get(char, re.escape(char)) for char in _collated(pattern)]
    return re.compile("".join(parts), re.DOTALL)


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
