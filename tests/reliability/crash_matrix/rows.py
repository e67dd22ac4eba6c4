"""The rows of the crash matrix: each flow with the writes of its run, in their order, and writes that have no row."""

from __future__ import annotations

#: Beside the way of a flow: the whole of it is done again by the next run, as after any other cut.
_AGAIN = "a branch after a refusal or an edit meanwhile; the next run compares again"
#: It sets values.
_BY_HAND = "a person has asked for it, sees whether it is done, and asks again"

#: Writes without a row, and what becomes of them if the process dies there.
NO_ROW: dict[str, str] = {
    "services/adressen_sync.py _show_status: update_entity": _AGAIN,
    "services/adressen_sync.py alone: update_entity": _AGAIN,
    "services/api/next_call.py reset: update_entity": _BY_HAND,
    "services/api/record_actions.py _unlink_parts: update_entity": _BY_HAND,
    "services/api/record_actions.py prepare: update_entity": _BY_HAND,
    "services/beteiligte/finish.py _refused_alone: update_entity": _AGAIN,
    "services/beteiligte_sync_utils.py _leave_to_next_event: update_entity": _AGAIN,
    "services/beteiligte_sync_utils.py _write_status_beside_edits: update_entity": _AGAIN,
    "services/calendar_sync/apply/creates.py _mark_event: patch_event": (
        "after a cut of create_termin; the pair is stored before"
    ),
    "services/calendar_sync/apply/google_side.py _insert_as: patch_event": (
        "after a cut of insert_event; under the same id, with If-Match"
    ),
    "services/calendar_sync/audit/commands.py _delete_in_google: delete_event": _BY_HAND,
    "services/calendar_sync/audit/decisions.py _insert: insert_event": _BY_HAND,
    "services/espocrm_setup/webhooks.py _settle: create_entity": _BY_HAND,
    "services/espocrm_setup/webhooks.py _settle: delete_entity": _BY_HAND,
    "services/espocrm_setup/webhooks.py _settle: update_entity": _BY_HAND,
    "services/kommunikation_sync_utils.py _accepts: update_entity": _AGAIN,
    "services/kommunikation_sync_utils.py _read_back: update_kommunikation": _AGAIN,
    "services/kommunikation_sync_utils.py put: update_entity": "sync_bidirectional, which no flow calls",
    "services/undo/command.py _restore_advoware: update_adresse": _BY_HAND,
    "services/undo/command.py _restore_numbers: update_kommunikation": _BY_HAND,
    "services/undo/command.py _restore_espocrm: update_entity": _BY_HAND,
}

#: Flow -> the writes of its run, in their order.
ROWS: dict[str, tuple[str, ...]] = {
    "a person with number, mail, address and account is entered": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/vmh_sync/beteiligte/create.py _post: create_beteiligter",
        "services/kommunikation_sync_utils.py _request: create_kommunikation",
        "services/kommunikation_sync_utils.py _request: create_kommunikation",
        "services/adressen_sync.py write: create_adresse",
        "services/bankverbindungen_sync.py _send: create_bankverbindung",
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "a person with number, mail, address and account is entered, plain requests": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/vmh_sync/beteiligte/create.py _post: create_beteiligter",
        "services/kommunikation_sync_utils.py _request: create_kommunikation",
        "services/kommunikation_sync_utils.py _request: create_kommunikation",
        "services/adressen_sync.py write: create_adresse",
        "services/adressen_sync.py write: update_entity",
        "services/bankverbindungen_sync.py _send: create_bankverbindung",
        "services/bankverbindungen_sync.py alone: update_entity",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a name is corrected in EspoCRM": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/vmh_sync/beteiligte/master_data.py send: update_beteiligter",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a name is corrected in EspoCRM, and taken back": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/vmh_sync/beteiligte/master_data.py send: update_beteiligter",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a name is corrected in EspoCRM, plain requests": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/vmh_sync/beteiligte/master_data.py send: update_beteiligter",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a name is corrected in EspoCRM, and taken back, plain requests": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/vmh_sync/beteiligte/master_data.py send: update_beteiligter",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a name is corrected in Advoware": (
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a name is corrected in Advoware, and once more": (
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a name is corrected in Advoware, plain requests": (
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a name is corrected in Advoware, and once more, plain requests": (
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a first name is changed on both sides": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/vmh_sync/beteiligte/master_data.py send: update_beteiligter",
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "a first name is changed on both sides, plain requests": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/notification_utils.py _create_task: create_entity",
        "services/notification_utils.py _write_note: create_entity",
        "services/vmh_sync/beteiligte/master_data.py send: update_beteiligter",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is added in EspoCRM": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/kommunikation_sync_utils.py _request: create_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is added in EspoCRM, plain requests": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/kommunikation_sync_utils.py _request: create_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is removed in EspoCRM": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is removed in EspoCRM, plain requests": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is added in Advoware": (
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is added in Advoware, plain requests": (
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is changed in Advoware": (
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is changed in Advoware, plain requests": (
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is changed in EspoCRM, and taken back": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is changed in EspoCRM, and taken back, plain requests": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is changed in EspoCRM, and once more": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is changed in EspoCRM, and once more, plain requests": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is removed in EspoCRM, and put back": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is removed in EspoCRM, and put back, plain requests": (
        "services/beteiligte_sync_utils.py _show_syncing: update_entity",
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is changed in Advoware, and taken back": (
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is changed in Advoware, and taken back, plain requests": (
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is changed in Advoware, and once more": (
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is changed in Advoware, and once more, plain requests": (
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is removed in Advoware, and put back": (
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a number is removed in Advoware, and put back, plain requests": (
        "services/kommunikation_sync_utils.py _request: update_kommunikation",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "an address is changed in EspoCRM, and taken back": (
        "services/adressen_sync.py write: update_adresse",
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an address is changed in EspoCRM, and taken back, plain requests": (
        "services/adressen_sync.py write: update_adresse",
        "services/adressen_sync.py write: update_entity",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "an address is changed in EspoCRM, and once more": (
        "services/adressen_sync.py write: update_adresse",
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an address is changed in EspoCRM, and once more, plain requests": (
        "services/adressen_sync.py write: update_adresse",
        "services/adressen_sync.py write: update_entity",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "an address is changed in Advoware, and taken back": (
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an address is changed in Advoware, and taken back, plain requests": (
        "services/adressen_sync.py write: update_entity",
    ),
    "an address is changed in Advoware, and once more": (
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an address is changed in Advoware, and once more, plain requests": (
        "services/adressen_sync.py write: update_entity",
    ),
    "an address is entered in EspoCRM": (
        "services/adressen_sync.py write: create_adresse",
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an address is entered in EspoCRM, plain requests": (
        "services/adressen_sync.py write: create_adresse",
        "services/adressen_sync.py write: update_entity",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "an address is changed in EspoCRM": (
        "services/adressen_sync.py write: update_adresse",
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an address is changed in EspoCRM, plain requests": (
        "services/adressen_sync.py write: update_adresse",
        "services/adressen_sync.py write: update_entity",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "an address is entered in Advoware": (
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an address is entered in Advoware, plain requests": (
        "services/adressen_sync.py write: create_entity",
    ),
    "an address is closed in EspoCRM": (
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an address is closed in EspoCRM, plain requests": (
        "services/adressen_sync.py write: update_entity",
        "services/notification_utils.py _create_task: create_entity",
        "services/notification_utils.py _write_note: create_entity",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "an address is opened again": (
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an address is opened again, plain requests": (
        "services/adressen_sync.py write: update_entity",
        "services/notification_utils.py _update_task: update_entity",
        "services/notification_utils.py _create_task: create_entity",
        "services/notification_utils.py _write_note: create_entity",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "an address is deleted in Advoware": (
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an address is deleted in Advoware, plain requests": (
        "services/adressen_sync.py write: update_entity",
        "services/notification_utils.py _create_task: create_entity",
        "services/notification_utils.py _write_note: create_entity",
    ),
    "an account is entered in EspoCRM": (
        "services/bankverbindungen_sync.py _send: create_bankverbindung",
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an account is entered in EspoCRM, plain requests": (
        "services/bankverbindungen_sync.py _send: create_bankverbindung",
        "services/bankverbindungen_sync.py alone: update_entity",
    ),
    "an account is deleted in EspoCRM": (
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "an account is deleted in EspoCRM, plain requests": (
        "services/notification_utils.py _create_task: create_entity",
        "services/notification_utils.py _write_note: create_entity",
    ),
    "a Beteiligter is deleted in Advoware": (
        "services/vmh_sync/espocrm_writes.py _send: write_together",
    ),
    "a Beteiligter is deleted in Advoware, plain requests": (
        "services/notification_utils.py _create_task: create_entity",
        "services/notification_utils.py _write_note: create_entity",
        "services/vmh_sync/espocrm_writes.py write: update_entity",
    ),
    "a CBeteiligte is deleted in EspoCRM": (
        "services/vmh_sync/espocrm_writes.py _send: write_together",
        "services/notification_utils.py _create_task: create_entity",
        "services/notification_utils.py _create_task: create_entity",
        "services/notification_utils.py _write_note: create_entity",
    ),
    "a CBeteiligte is deleted in EspoCRM, plain requests": (
        "services/notification_utils.py _create_task: create_entity",
        "services/notification_utils.py _create_task: create_entity",
        "services/notification_utils.py _write_note: create_entity",
    ),
    "the check resets what was given up": (
        "services/beteiligte_check.py _reset: update_entity",
    ),
    "the check resets what was given up, plain requests": (
        "services/beteiligte_check.py _reset: update_entity",
    ),
    "the first Termin of an employee": (
        "services/calendar_sync/calendars.py ensure_calendar: insert_calendar",
        "services/calendar_sync/sharing.py _write: insert_acl",
        "services/calendar_sync/sharing.py _write: insert_acl",
        "services/calendar_sync/apply/google_side.py _insert_as: insert_event",
    ),
    "two Termine are entered in Advoware": (
        "services/calendar_sync/apply/google_side.py _insert_as: insert_event",
        "services/calendar_sync/apply/google_side.py _insert_as: insert_event",
    ),
    "a Termin is moved in Advoware": (
        "services/calendar_sync/apply/google_side.py patch: patch_event",
    ),
    "a Termin is deleted in Advoware": (
        "services/calendar_sync/apply/deletions.py delete_google: delete_event",
    ),
    "a Termin becomes private": (
        "services/calendar_sync/apply/google_side.py patch: patch_event",
    ),
    "a Termin is handed to a colleague": (
        "services/calendar_sync/apply/deletions.py delete_google: delete_event",
    ),
    "a Termin arrives at the colleague": (
        "services/calendar_sync/apply/google_side.py _insert_as: insert_event",
    ),
    "a person deletes the copy of a Termin": (
        "services/calendar_sync/apply/google_side.py _insert_as: insert_event",
        "services/calendar_sync/apply/google_side.py _revive: patch_event",
    ),
    "a person moves the copy of a Termin": (
        "services/calendar_sync/apply/google_side.py patch: patch_event",
    ),
    "a person moves an occurrence of a series": (
        "services/calendar_sync/apply/google_side.py _delete_replaced: delete_event",
        "services/calendar_sync/apply/google_side.py _insert_as: insert_event",
    ),
    "a person copies the copy": (
        "services/calendar_sync/apply/creates.py _request: create_termin",
        "services/calendar_sync/apply/google_side.py patch: patch_event",
    ),
    "two events are entered in Google": (
        "services/calendar_sync/apply/creates.py _request: create_termin",
        "services/calendar_sync/apply/google_side.py patch: patch_event",
        "services/calendar_sync/apply/creates.py _request: create_termin",
        "services/calendar_sync/apply/google_side.py patch: patch_event",
    ),
    "an event of a person is moved": (
        "services/calendar_sync/apply/advoware_side.py _put: update_termin",
    ),
    "an event of a person is deleted": (
        "services/calendar_sync/apply/deletions.py delete_advoware: delete_termin",
    ),
    "the Termin of a persons event is moved in Advoware": (
        "services/calendar_sync/apply/advoware_side.py _put: update_termin",
    ),
    "the Termin of a persons event is deleted in Advoware": (
        "services/calendar_sync/apply/creates.py _request: create_termin",
        "services/calendar_sync/apply/google_side.py patch: patch_event",
    ),
    "all texts are hidden": (
        "services/calendar_sync/apply/google_side.py patch: patch_event",
    ),
    "the texts of a series that Advoware cannot hold are hidden": (
        "services/calendar_sync/apply/google_side.py _write_texts: patch_event",
        "services/calendar_sync/apply/google_side.py _patch_occurrences: patch_event",
    ),
    "a person copies the copy while Advoware is protected": (
        "services/calendar_sync/apply/google_side.py take_marks_off: patch_event",
    ),
    "the calendar loses its description": (
        "services/calendar_sync/calendars.py _keep_itself: patch_calendar",
    ),
    "a text is changed while Advoware shows an end that it does not take back": (
        "services/calendar_sync/apply/advoware_side.py _put: update_termin",
        "services/calendar_sync/apply/advoware_side.py _put: update_termin",
    ),
    "the calendar is shared with others": (
        "services/calendar_sync/sharing.py _revoke: delete_acl",
        "services/calendar_sync/sharing.py _write: patch_acl",
    ),
}
