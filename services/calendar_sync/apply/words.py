"""What the audit and the summaries call the actions: words that are stored, and stay as they are."""

from __future__ import annotations

from collections.abc import Mapping

from services.calendar_sync.model import (
    Action,
    AdoptGoogle,
    DeleteAdvoware,
    DeleteGoogle,
    FollowCopy,
    HideGoogle,
    InsertGoogle,
    MarkUntranslatable,
    PostAdvoware,
    RecordFingerprints,
    RecreateAdvoware,
    RecreateGoogle,
    RememberPending,
    ReplaceGoogle,
    ShowGoogle,
    SoftDelete,
    TakeMarksOff,
    Unlink,
    UpdateAdvoware,
    UpdateGoogle,
)
from services.calendar_sync.store import Side

#: What the audit says of each action: the side that is written to, and what is done to it.
AUDIT: Mapping[type, tuple[Side, str]] = {
    InsertGoogle: ("google", "created"),
    AdoptGoogle: ("google", "adopted"),
    PostAdvoware: ("advoware", "created"),
    RememberPending: ("none", "pending"),
    DeleteGoogle: ("google", "deleted"),
    DeleteAdvoware: ("advoware", "deleted"),
    RecreateGoogle: ("google", "recreated"),
    RecreateAdvoware: ("advoware", "recreated"),
    FollowCopy: ("none", "followed"),
    Unlink: ("none", "let_go"),
    SoftDelete: ("none", "deleted"),
    UpdateGoogle: ("google", "updated"),
    ReplaceGoogle: ("google", "replaced"),
    HideGoogle: ("google", "hidden"),
    ShowGoogle: ("google", "shown"),
    UpdateAdvoware: ("advoware", "updated"),
    RecordFingerprints: ("none", "recorded"),
    MarkUntranslatable: ("none", "left_alone"),
    TakeMarksOff: ("google", "marks_removed"),
}

REASONS: Mapping[type, str] = {
    InsertGoogle: "new in Advoware",
    AdoptGoogle: "both sides have it already",
    PostAdvoware: "new in Google",
    RememberPending: "Advoware may not be written",
    RecreateGoogle: "only the copy was deleted",
    RecreateAdvoware: "only the copy was deleted",
    FollowCopy: "the original was deleted, its copy is there",
    Unlink: "the copy was deleted when it was over",
    SoftDelete: "gone on both sides",
    UpdateGoogle: "Google differs from what it shall show",
    ReplaceGoogle: "single occurrences of the series were changed in Google",
    HideGoogle: "Google must not show the text",
    ShowGoogle: "Google may show the text again",
    UpdateAdvoware: "changed in Google",
    RecordFingerprints: "both sides agree",
    TakeMarksOff: "a person's copy of an event of ours",
}


def action_name(action: Action) -> str:
    """What a summary counts an action as, such as ``google_created``."""
    side, word = AUDIT[type(action)]
    if side == "none":
        return word
    return f"{side}_{word}"
