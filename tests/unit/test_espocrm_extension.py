"""The EspoCRM extension: complete, well-formed, and in step with the mappers, the doctor and the twin."""

from __future__ import annotations

import copy
import inspect
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest
from schwifty import registry
from schwifty.exceptions import SchwiftyException

from config import PROJECT_ROOT
from sandbox.espocrm.access import DEFAULT_API_USERS
from sandbox.espocrm.app import EXTENSION_VERSION
from sandbox.espocrm.entities import CUSTOM_ENTITIES, ENTITIES, PHONE_TYPES
from services.adressen_mapper import ADVOWARE_LENGTHS as ADRESSEN_LENGTHS
from services.adressen_mapper import ESPOCRM_FIELDS, AdressenMapper
from services.api import errors as api_errors
from services.api import record_actions
from services.bankverbindungen_mapper import ADVOWARE_LENGTHS as BANK_LENGTHS
from services.bankverbindungen_mapper import ATTRIBUTES, BankverbindungenMapper
from services.espocrm import SILENTLY_WRITTEN
from services.espocrm_mapper import (
    ADVOWARE_LENGTHS,
    COMPANY_FIELDS,
    ESPOCRM_LENGTHS,
    PERSON_FIELDS,
    BeteiligteMapper,
)
from services.espocrm_setup import schema as espocrm_schema
from services.values.kind import RECHTSFORMEN
from services.vmh_sync.beteiligte import status as beteiligte_status

EXTENSION = PROJECT_ROOT / "espocrm-extension"
MODULE = EXTENSION / "files" / "custom" / "Espo" / "Modules" / "BitByLaw"
CLIENT = EXTENSION / "files" / "client" / "custom" / "modules" / "bit-by-law" / "src"
RESOURCES = MODULE / "Resources"
LANGUAGES = ("de_DE", "en_US")
#: Fields that EspoCRM labels itself, whatever the entity.
STANDARD_FIELDS = frozenset(
    {
        "name",
        "firstName",
        "lastName",
        "salutationName",
        "emailAddress",
        "phoneNumber",
        "description",
        "assignedUser",
    }
    | {"teams", "createdAt", "modifiedAt", "createdBy", "modifiedBy"}
)
#: What the extension has and the twin does without: the frame of an address, and teams.
NOT_IN_TWIN = frozenset({"adresse", "teams"})
#: What says nothing to people.
MACHINE_FIELDS = {"advowareRowId", "kommunikationHash", "erasedFields", "mergedIds"}
ADDRESS_PARTS = {
    f"adresse{part}" for part in ("Street", "City", "State", "Country", "PostalCode")
}
entities = pytest.mark.parametrize("entity", CUSTOM_ENTITIES)


@cache
def resource(path: str) -> Any:
    return json.loads((RESOURCES / path).read_text(encoding="utf-8"))


def entity_defs(entity: str) -> dict[str, Any]:
    return dict(resource(f"metadata/entityDefs/{entity}.json"))


def fields_of(entity: str) -> dict[str, dict[str, Any]]:
    return dict(entity_defs(entity)["fields"])


def attributes_of(entity: str) -> set[str]:
    """What the interface calls the fields."""
    found = {"id"}
    for name, field in fields_of(entity).items():
        if field["type"] == "link":
            found |= {f"{name}Id", f"{name}Name"}
        elif field["type"] in {"email", "phone"}:
            found |= {name, f"{name}Data"}
        else:
            found.add(name)
    return found


class Recorder(dict[str, Any]):
    """An empty record that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(id="x")
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)


# -- in step with the rest of the project -------------------------------------------------------------------------


@entities
def test_the_extension_passes_the_doctor(entity: str) -> None:
    assert espocrm_schema.entity_problems(entity, entity_defs(entity)) == []


@entities
def test_the_twin_has_the_extensions_fields_types_options_and_limits(
    entity: str,
) -> None:
    twin = {field.name: field for field in ENTITIES[entity].all_fields}
    own = fields_of(entity)
    assert own.keys() - NOT_IN_TWIN == twin.keys()
    for name, field in twin.items():
        assert own[name]["type"] == (
            "personName" if entity == "CBeteiligte" and name == "name" else field.type
        ), name
        if field.type == "enum":
            assert tuple(own[name]["options"]) == field.options, name
        if field.max_length:
            assert own[name]["maxLength"] == field.max_length, name
        assert bool(own[name].get("default")) == bool(field.default), name
        assert bool(own[name].get("readOnly")) == (
            field.read_only and name != "name"
        ), name
        assert bool(own[name].get("required")) == field.required, name
    assert [name for name, field in twin.items() if field.unique] == [
        name
        for name, field in own.items()
        if any(
            "Unique" in validator
            for validator in field.get("validatorClassNameList", ())
        )
    ]


def test_the_server_side_rules_are_those_of_the_twin() -> None:
    rules = resource("metadata/app/bitbylaw.json")["synced"]
    twin = {name: ENTITIES[name] for name in CUSTOM_ENTITIES if ENTITIES[name].synced}
    assert rules.keys() == twin.keys() == {"CBeteiligte", "CAdressen"}
    for name, rule in rules.items():
        assert set(rule["attributes"]) == twin[name].synced
        assert set(rule["attributes"]) <= attributes_of(name)
        assert rule["idAttribute"] == twin[name].synced_id
        assert twin[name].initial_status == "pending_sync"
        assert (MODULE / "Hooks" / name / "SyncStatus.php").is_file()
    hook = (MODULE / "Classes" / "Sync" / "StatusHook.php").read_text()
    assert {"pending_sync", "dirty"} == set(
        re.findall(r"const (?:PENDING|DIRTY) = '(\w+)'", hook)
    )


@entities
def test_what_is_only_status_is_a_field_that_people_cannot_edit_and_not_what_is_synced(
    entity: str,
) -> None:
    rules = resource("metadata/app/bitbylaw.json")
    assert rules["statusAttributes"].keys() == set(CUSTOM_ENTITIES)
    status = set(rules["statusAttributes"][entity])
    assert status == ENTITIES[entity].status
    kept_from_imports = {
        name for name, field in fields_of(entity).items() if field.get("importDisabled")
    }
    assert status == kept_from_imports - {"bezeichnung"}
    assert not status & set(rules["synced"].get(entity, {}).get("attributes", ()))


@entities
def test_each_entity_counts_versions_and_is_saved_silently_by_the_write_action(
    entity: str,
) -> None:
    definition = entity_defs(entity)
    assert definition["optimisticConcurrencyControl"] is True
    assert (
        definition["repositoryClassName"]
        == "Espo\\Modules\\BitByLaw\\Repositories\\Synced"
    )
    assert (MODULE / "Hooks" / entity / "KeepVersion.php").is_file()
    assert entity in SILENTLY_WRITTEN


def test_every_attribute_that_the_mappers_read_or_write_exists() -> None:
    for entity, mapper in (
        ("CBeteiligte", BeteiligteMapper()),
        ("CAdressen", AdressenMapper()),
        ("CBankverbindungen", BankverbindungenMapper()),
    ):
        record = Recorder()
        mapper.comparable_from_espocrm(record)
        assert record.asked
        assert record.asked <= attributes_of(entity)
    written = AdressenMapper().map_advoware_to_cadressen(
        {"strasse": "Weg 1", "plz": "30159", "ort": "Hannover"}
    )
    assert written.keys() <= attributes_of("CAdressen")
    assert {*PERSON_FIELDS.values(), *COMPANY_FIELDS.values()} <= attributes_of(
        "CBeteiligte"
    )


def test_every_status_that_the_sync_writes_is_an_option() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    outcomes = [
        beteiligte_status.success("clean", now),
        beteiligte_status.success("conflict", now),
        beteiligte_status.failure({}, "x", now),
        beteiligte_status.failure({"syncRetryCount": 4}, "x", now),
        beteiligte_status.deleted_in_advoware("1"),
    ]
    fields = fields_of("CBeteiligte")
    for outcome in outcomes:
        assert outcome.keys() <= fields.keys()
        assert outcome["syncStatus"] in fields["syncStatus"]["options"]
    assert (
        fields["syncErrorMessage"]["maxLength"]
        == beteiligte_status.ERROR_MESSAGE_LENGTH
    )


def test_the_legal_forms_and_lengths_are_those_of_the_mapper() -> None:
    fields = fields_of("CBeteiligte")
    assert tuple(fields["rechtsform"]["options"]) == RECHTSFORMEN
    assert {
        name: fields[name]["maxLength"] for name in ESPOCRM_LENGTHS
    } == ESPOCRM_LENGTHS
    assert tuple(fields["phoneNumber"]["typeList"]) == PHONE_TYPES


def test_people_can_enter_no_more_than_advoware_holds() -> None:
    attributes = {**PERSON_FIELDS, **COMPANY_FIELDS, "rechtsform": "rechtsform"}
    places = [
        ("CBeteiligte", attributes[name], length)
        for name, length in ADVOWARE_LENGTHS.items()
    ]
    places += [
        ("CBankverbindungen", ATTRIBUTES[name], length)
        for name, length in BANK_LENGTHS.items()
    ]
    for attribute, fields in ESPOCRM_FIELDS.items():
        places += [
            ("CAdressen", attribute, ADRESSEN_LENGTHS[name])
            for name in fields
            if name in ADRESSEN_LENGTHS
        ]
    assert len(places) > 10
    for entity, attribute, length in places:
        field = fields_of(entity)[attribute]
        assert field["type"] == "enum" or field["maxLength"] <= length, attribute


def test_the_role_grants_what_the_sync_needs_and_no_more() -> None:
    role = resource("metadata/app/bitbylaw.json")["role"]
    assert (role["id"], role["name"]) == (
        espocrm_schema.ROLE_ID,
        espocrm_schema.ROLE_NAME,
    )
    assert role["permissions"] == dict.fromkeys(espocrm_schema.PERMISSIONS, "all")
    assert role["data"].keys() == {*espocrm_schema.RIGHTS, *espocrm_schema.SWITCHES}
    acl = {"table": role["data"], **role["permissions"]}
    assert espocrm_schema.role_problems(acl) == espocrm_schema.surplus_rights(acl) == []
    sync_user = next(user for user in DEFAULT_API_USERS if user.sync)
    for scope, levels in role["data"].items():
        granted = (
            {a for a, level in levels.items() if level != "no"}
            if isinstance(levels, dict)
            else {"read"}
        )
        assert granted - {"stream"} <= sync_user.rights[scope], scope


def test_ibans_are_checked_by_the_formats_that_the_sync_knows() -> None:
    def known() -> Iterator[tuple[str, str]]:
        for letters in product(ascii_uppercase, repeat=2):
            code = "".join(letters)
            try:
                yield code, registry.get_iban_spec(code).regex.pattern
            except (SchwiftyException, KeyError):
                continue

    patterns = resource("metadata/app/bitbylaw.json")["bbanPattern"]
    assert patterns == dict(known())
    assert "DE" in patterns


def test_the_webhooks_lead_to_the_endpoints_of_the_steps() -> None:
    steps = "".join(
        path.read_text()
        for path in (PROJECT_ROOT / "steps" / "vmh" / "webhook").glob("*_step.py")
    )
    for path in espocrm_schema.WEBHOOKS.values():
        assert f'"{path}"' in steps


# -- what the doctor finds ----------------------------------------------------------------------------------------


def _without(field: str) -> Any:
    return lambda defs: defs["fields"].pop(field)


def _changed(field: str, **values: Any) -> Any:
    return lambda defs: defs["fields"][field].update(values)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_without("betnr"), "betnr: is missing"),
        (
            _changed("betnr", type="varchar"),
            "betnr: has the type varchar instead of int",
        ),
        (
            _changed("syncStatus", options=["clean"]),
            "syncStatus: lacks the options pending_sync, dirty, ",
        ),
        (
            _changed("phoneNumber", typeList=["Mobile"]),
            "phoneNumber: lacks the options Office, ",
        ),
        (
            _changed("firmenname", maxLength=50),
            "firmenname: takes 50 characters instead of 250",
        ),
        (
            _changed("kommunikationHash", readOnly=True),
            "kommunikationHash: is read-only",
        ),
        (
            lambda defs: defs["links"].pop("adressen"),
            "adressen: is no link to CAdressen",
        ),
    ],
)
def test_each_deviation_of_an_entity_is_named(change: Any, problem: str) -> None:
    defs = copy.deepcopy(entity_defs("CBeteiligte"))
    change(defs)
    (found,) = espocrm_schema.entity_problems("CBeteiligte", defs)
    assert found.startswith(problem)


# -- well-formed --------------------------------------------------------------------------------------------------


def test_every_json_file_is_valid_and_names_nothing_twice() -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), names
        return dict(pairs)

    files = list(EXTENSION.rglob("*.json"))
    assert len(files) > 40
    for path in files:
        json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)


def test_every_php_class_is_where_its_name_says_and_every_class_named_in_metadata_exists() -> (
    None
):
    for path in MODULE.rglob("*.php"):
        text = path.read_text()
        namespace = ".".join(
            ("Espo", "Modules", "BitByLaw", *path.relative_to(MODULE).parent.parts)
        ).replace(".", "\\")
        assert f"\nnamespace {namespace};\n" in text, path
        assert re.search(
            rf"^(abstract )?(class|interface) {path.stem}\b", text, re.MULTILINE
        ), path
    named = re.findall(
        r'"(Espo\\\\Modules\\\\BitByLaw[^"]+)"',
        "".join(p.read_text() for p in RESOURCES.rglob("*.json")),
    )
    assert named
    for name in named:
        parts = name.split("\\\\")[3:]
        assert MODULE.joinpath(*parts).with_suffix(".php").is_file(), name


def test_no_file_of_espocrm_itself_is_replaced() -> None:
    installed = [path for path in (EXTENSION / "files").rglob("*") if path.is_file()]
    assert installed
    assert all(
        path.is_relative_to(MODULE) or path.is_relative_to(CLIENT) for path in installed
    )


@entities
def test_records_can_be_webhook_subjects_and_parents_of_tasks_and_have_a_stream(
    entity: str,
) -> None:
    scope = resource(f"metadata/scopes/{entity}.json")
    assert scope["entity"]
    assert scope["object"]  # without it there are no webhooks
    assert scope["stream"]
    assert scope["acl"]
    assert scope["aclPortal"] is False
    parents = resource("metadata/entityDefs/Task.json")["fields"]["parent"][
        "entityList"
    ]
    assert parents[0] == "__APPEND__"
    assert set(parents[1:]) == set(CUSTOM_ENTITIES)


@entities
def test_links_have_two_ends(entity: str) -> None:
    for name, link in entity_defs(entity)["links"].items():
        if link["entity"] in CUSTOM_ENTITIES:
            back = entity_defs(link["entity"])["links"][link["foreign"]]
            assert (back["entity"], back["foreign"]) == (entity, name)


# -- for people ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@entities
def test_every_field_option_link_and_panel_has_a_label(
    entity: str, language: str
) -> None:
    labels, names = (
        resource(f"i18n/{language}/{entity}.json"),
        resource(f"i18n/{language}/Global.json"),
    )
    assert names["scopeNames"][entity]
    assert names["scopeNamesPlural"][entity]
    fields = fields_of(entity)
    assert fields.keys() - STANDARD_FIELDS <= labels["fields"].keys()
    for name, field in fields.items():
        if field["type"] == "enum":
            assert labels["options"][name].keys() == {
                option for option in field["options"] if option
            }
    own = {name for name in entity_defs(entity)["links"] if name not in STANDARD_FIELDS}
    assert own <= labels["links"].keys()
    panels = {
        panel["label"]
        for panel in resource(f"layouts/{entity}/detail.json")
        if panel["label"]
    }
    assert panels | {f"Create {entity}"} <= labels["labels"].keys()
    assert labels["tooltips"].keys() == {
        name for name, field in fields.items() if field.get("tooltip")
    }
    filters = {
        item["name"]
        for item in resource(f"metadata/clientDefs/{entity}.json")["filterList"]
    }
    assert labels["presetFilters"].keys() == filters
    assert names["dashlets"].keys() == {
        path.stem for path in (RESOURCES / "metadata" / "dashlets").glob("*.json")
    }


@entities
def test_every_sync_status_has_a_colour(entity: str) -> None:
    status = fields_of(entity)["syncStatus"]
    assert status["displayAsLabel"]
    assert status["style"].keys() == {option for option in status["options"] if option}
    assert {status["style"]["clean"], status["style"]["failed"]}.isdisjoint(
        {"default", None}
    )
    assert status["style"]["clean"] == "success"


def _names(layout: Any) -> Iterator[Mapping[str, Any]]:
    for item in layout:
        rows = item["rows"] if isinstance(item, dict) and "rows" in item else [[item]]
        for row in rows:
            yield from (
                {"name": cell} if isinstance(cell, str) else cell
                for cell in row
                if cell
            )


@entities
def test_layouts_show_fields_that_exist_and_the_fields_of_the_sync_only_to_look_at(
    entity: str,
) -> None:
    fields = fields_of(entity)
    synced = {name for name, field in fields.items() if field.get("duplicateIgnore")}
    for layout in (
        "list",
        "listSmall",
        "detail",
        "detailSmall",
        "filters",
        "massUpdate",
    ):
        shown = list(_names(resource(f"layouts/{entity}/{layout}.json")))
        assert {cell["name"] for cell in shown} <= fields.keys(), layout
        if layout.startswith("detail"):
            assert all(cell.get("readOnly") for cell in shown if cell["name"] in synced)
        if layout == "massUpdate":
            assert synced.isdisjoint(cell["name"] for cell in shown)
    detail = {
        cell["name"] for cell in _names(resource(f"layouts/{entity}/detail.json"))
    }
    hidden = (
        {"salutationName", "firstName", "lastName", "bezeichnung"}
        | ADDRESS_PARTS
        | MACHINE_FIELDS
    )
    for name in MACHINE_FIELDS & fields.keys():
        assert name not in detail
        assert fields[name]["layoutDetailDisabled"]
        assert fields[name]["layoutListDisabled"]
    assert fields.keys() - detail - hidden <= STANDARD_FIELDS
    links = entity_defs(entity)["links"]
    assert set(resource(f"layouts/{entity}/relationships.json")) <= links.keys()


@entities
def test_fields_of_the_sync_are_not_offered_when_records_are_merged(
    entity: str,
) -> None:
    for name, field in fields_of(entity).items():
        assert bool(field.get("mergeDisabled")) == bool(
            field.get("duplicateIgnore") or name == "bezeichnung"
        ), name


@entities
def test_what_people_change_is_kept_in_the_stream_and_what_the_sync_notes_is_not(
    entity: str,
) -> None:
    synced = set(
        resource("metadata/app/bitbylaw.json")["synced"]
        .get(entity, {})
        .get("attributes", ())
    )
    unnoted = {"name", "bezeichnung", "adresseState"}
    for name, field in fields_of(entity).items():
        if field.get("duplicateIgnore"):
            assert not field.get("audited"), name
        elif name in synced - unnoted:
            assert field.get("audited"), name


def _conditions(logic: Any) -> Iterator[Mapping[str, Any]]:
    for item in logic:
        if isinstance(item["value"] if item["type"] == "or" else None, list):
            yield from _conditions(item["value"])
        else:
            yield item


@entities
def test_dynamic_logic_and_filters_and_dashlets_name_what_exists(entity: str) -> None:
    client, fields = resource(f"metadata/clientDefs/{entity}.json"), fields_of(entity)
    logic = client["dynamicLogic"]
    assert logic.get("fields", {}).keys() <= fields.keys()
    panels = {panel.get("name") for panel in resource(f"layouts/{entity}/detail.json")}
    assert logic["panels"].keys() <= panels
    for rules in (*logic.get("fields", {}).values(), *logic["panels"].values()):
        for rule in rules.values():
            for condition in _conditions(rule["conditionGroup"]):
                assert condition["attribute"] in attributes_of(entity)
                if condition["attribute"] == "syncStatus":
                    assert set(condition["value"]) <= set(
                        fields["syncStatus"]["options"]
                    )
    filters = resource(f"metadata/selectDefs/{entity}.json")[
        "primaryFilterClassNameMap"
    ]
    assert [item["name"] for item in client["filterList"]] == list(filters)
    for path in (RESOURCES / "metadata" / "dashlets").glob("*.json"):
        dashlet = resource(f"metadata/dashlets/{path.name}")
        assert dashlet["entityType"] == dashlet["aclScope"]
        assert dashlet["options"]["defaults"]["searchData"]["primary"] in filters
        if dashlet["entityType"] == entity:
            rows = dashlet["options"]["defaults"]["expandedLayout"]["rows"]
            assert {cell["name"] for row in rows for cell in row} <= fields.keys()


def test_what_needs_a_person_is_a_status() -> None:
    offered = {
        option
        for entity in CUSTOM_ENTITIES
        for option in fields_of(entity)["syncStatus"]["options"]
    }
    assert set(resource("metadata/app/bitbylaw.json")["needsPerson"]) <= offered


def test_a_field_that_is_required_by_dynamic_logic_keeps_nothing_from_the_sync() -> (
    None
):
    """EspoCRM 9.1 and later check such a rule on the server, too, whoever saves."""
    for entity in CUSTOM_ENTITIES:
        for name, rules in (
            resource(f"metadata/clientDefs/{entity}.json")["dynamicLogic"]
            .get("fields", {})
            .items()
        ):
            if "required" in rules:
                assert (
                    "required" in fields_of(entity)[name]["suppressValidationList"]
                ), name


def test_every_sentence_that_the_server_may_say_exists_in_both_languages() -> None:
    used = set()
    for path in (MODULE / "Classes" / "FieldValidators").rglob("*.php"):
        used |= set(
            re.findall(r"'((?:iban|bic|name|rechtsform)[A-Z]\w+)'", path.read_text())
        )
    assert len(used) >= 9
    for language in LANGUAGES:
        labels = {
            entity: resource(f"i18n/{language}/{entity}.json")
            for entity in CUSTOM_ENTITIES
        }
        assert used == {
            name for names in labels.values() for name in names.get("messages", ())
        }
        checks = {kind for entity in CUSTOM_ENTITIES for field in fields_of(entity).values()
                  for kind in field.get("validatorClassNameMap", ())}  # fmt: skip
        texts = resource(f"i18n/{language}/Global.json")
        assert (
            checks
            == texts["fieldValidations"].keys()
            == texts["fieldValidationExplanations"].keys()
        )


@entities
def test_a_duplicated_record_does_not_claim_to_be_in_advoware(entity: str) -> None:
    """EspoCRM's action "duplicate" copies every field that is not marked."""
    own = {"betnr", *MACHINE_FIELDS}
    for name, field in fields_of(entity).items():
        if name.startswith(("sync", "advoware")) or name in own:
            assert field.get("duplicateIgnore"), name


# -- the package --------------------------------------------------------------------------------------------------


def _build(directory: Path) -> Path:
    spec = spec_from_file_location("espocrm_extension_build", EXTENSION / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    package: Path = module.build(directory)
    return package


def test_the_package_is_complete_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    first = _build(tmp_path / "one")
    os.utime(EXTENSION / "manifest.json")
    second = _build(tmp_path / "two")
    assert first.name == f"bitbylaw-{EXTENSION_VERSION}.zip"
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as package:
        names = package.namelist()
    assert names == sorted(names)
    expected = {
        path
        for part in ("files", "scripts")
        for path in (EXTENSION / part).rglob("*")
        if path.is_file()
    }
    assert set(names) == {
        path.relative_to(EXTENSION).as_posix() for path in expected
    } | {"manifest.json"}
    assert {"scripts/AfterInstall.php", "scripts/AfterUninstall.php"} <= set(names)
    assert any(name.endswith(".js") for name in names)


def test_what_the_installation_places_the_uninstallation_takes_back() -> None:
    install, uninstall = (
        (EXTENSION / "scripts" / f"After{word}.php").read_text()
        for word in ("Install", "Uninstall")
    )
    placed = set(re.findall(r"'(\w+List)'", install))
    assert placed == {"tabList", "globalSearchEntityList", "quickCreateList"}
    assert placed <= set(re.findall(r"'(\w+List)'", uninstall))
    (prefix,) = re.findall(r"DASHLET_PREFIX = '(\w+)'", uninstall)
    assert all(
        path.name.startswith(prefix)
        for path in (RESOURCES / "metadata" / "dashlets").iterdir()
    )
    assert (
        re.findall(r"DONE = '(\w+)'", install)
        == re.findall(r"DONE = '(\w+)'", uninstall)
        == ["bitbylawPlaces"]
    )
    taken = re.findall(r"ENTITY_TYPES = \[(.*)\]", uninstall)[0]
    assert {name.strip("' ") for name in taken.split(",")} == set(CUSTOM_ENTITIES)


def test_every_view_of_the_extension_that_metadata_names_exists() -> None:
    """Named in metadata, or by a script of the extension; and there is none that is not named."""
    files = [*RESOURCES.rglob("*.json"), *CLIENT.rglob("*.js")]
    named = re.findall(
        r"""["']bit-by-law:([\w/-]+)["']""", "".join(path.read_text() for path in files)
    )
    assert named
    assert {f"{name}.js" for name in named} == {
        path.relative_to(CLIENT).as_posix() for path in CLIENT.rglob("*.js")
    }


def test_every_button_has_a_label_and_a_handler_that_knows_it() -> None:
    for entity in CUSTOM_ENTITIES:
        definitions = resource(f"metadata/clientDefs/{entity}.json")
        buttons = [
            item for item in definitions["detailActionList"] if item != "__APPEND__"
        ]
        assert buttons
        for button in buttons:
            handler = (CLIENT / f"{button['handler'].partition(':')[2]}.js").read_text()
            for function in (
                button["actionFunction"],
                button["checkVisibilityFunction"],
            ):
                assert re.search(
                    rf"^        (async )?{function}\(", handler, re.MULTILINE
                ), function
            for language in LANGUAGES:
                assert (
                    button["label"]
                    in resource(f"i18n/{language}/{entity}.json")["labels"]
                )
    mass = [
        name
        for name in resource("metadata/clientDefs/CBeteiligte.json")["massActionList"]
        if name != "__APPEND__"
    ]
    for language in LANGUAGES:
        assert resource(f"i18n/{language}/CBeteiligte.json")[
            "massActions"
        ].keys() == set(mass)


def test_the_buttons_texts_exist_in_both_languages_and_for_every_reason() -> None:
    scripts = "".join(path.read_text() for path in CLIENT.rglob("*.js"))
    php = "".join(path.read_text() for path in MODULE.rglob("*.php"))
    used = set(re.findall(r"(?:text|notify)\('(\w+)'\)", scripts)) | {
        "syncQueued",
        "syncQueuedSkipped",
        "createAgainNote",
    }
    used |= {"previewInAdvoware", "previewInEspoCRM"}
    explained = set(
        re.findall(r"'(\w+)'", re.findall(r"REASONS = \[([^\]]*)\]", scripts)[0])
    ) | {"unavailable"}
    for language in LANGUAGES:
        messages = resource(f"i18n/{language}/BitByLaw.json")["messages"]
        assert messages.keys() == used | {f"reason_{reason}" for reason in explained}
    answered = {row.reason for row in api_errors.ANSWERS}
    answered |= set(
        re.findall(r'"(\w+)"', inspect.getsource(api_errors.action_answer))
    ) - {"EspoCRM", "reason"}
    answered |= set(
        re.findall(r'Refused\("(\w+)"\)', inspect.getsource(record_actions))
    )
    answered |= set(re.findall(r"failed\('(\w+)'\)", php))
    # What only a defect or a wrong key leads to has no words of its own.
    assert answered - explained == {"invalid", "not_admitted"}


def test_no_one_reads_the_key_of_the_buttons() -> None:
    fields = resource("metadata/entityDefs/Settings.json")["fields"]
    levels = {
        name: item["level"]
        for name, item in resource("metadata/app/config.json")["params"].items()
    }
    assert levels == {"bitByLawUrl": "admin", "bitByLawSecret": "internal"}
    assert fields.keys() == levels.keys()
    for language in LANGUAGES:
        labels = resource(f"i18n/{language}/Settings.json")
        assert fields.keys() == labels["fields"].keys() == labels["tooltips"].keys()
    assert "bitByLawSecret" not in "".join(
        path.read_text() for path in CLIENT.rglob("*.js")
    )


def test_the_manifest_says_what_it_runs_on_and_the_version_is_the_same_everywhere() -> (
    None
):
    manifest = json.loads((EXTENSION / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["acceptableVersions"] == [">=8.2.0 <10.0.0"]
    assert manifest["php"] == [">=8.1.0"]
    assert (
        manifest["version"]
        == resource("metadata/app/bitbylaw.json")["version"]
        == EXTENSION_VERSION
    )
    assert (manifest["name"], manifest["version"]) == (
        espocrm_schema.EXTENSION_NAME,
        espocrm_schema.EXTENSION_VERSION,
    )
