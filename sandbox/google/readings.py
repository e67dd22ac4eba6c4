"""Where it is documented nowhere what Google does: the readings between which the twin can be switched.

``POST /__sandbox__/settings`` changes those given. A caller must get along with every one of them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Readings(BaseModel):
    """What the twin takes for Google's behaviour. All of it is assumed [A]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: What becomes of exceptions whose slot the series no longer has, because its start or rule was changed. Google's
    #: guide "Recurring events" says that changing "this and following" resets the later ones; of other changes it says
    #: nothing. ``lost``: they go. ``kept``: they stay under their old slot, beside the new occurrences.
    #: ``follow``: they belong to the new occurrence of the same day, so that a cancelled day stays cancelled.
    exceptions: Literal["lost", "kept", "follow"] = "lost"
    #: Whether an exception has all its texts for itself, or only those that were changed in it.
    exception_texts: Literal["own", "inherited"] = "own"
    split_keeps_properties: bool = (
        True  #: "this and following": the second half has the private properties, too
    )
    copy_keeps_properties: bool = True  #: likewise a copy
    move_keeps_properties: bool = True  #: likewise an event in its new calendar
    restore_keeps_properties: bool = True  #: likewise an event taken out of the bin
