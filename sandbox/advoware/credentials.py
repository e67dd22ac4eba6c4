"""The login of the twin, on its own so that who starts the twin need not import it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Credentials:
    """The one login that the twin accepts."""

    kanzlei: str = "demo"
    database: str = "demo"
    user: str = "api"
    password: str = "demo-password"  # noqa: S105 - opens nothing but this twin
    app_id: str = "bitbylaw-demo"
    api_key: str = base64.b64encode(b"bitbylaw-demo-secret").decode()  #: base64
    product: int = 64
    role: int = 2


DEFAULT_CREDENTIALS: Final = Credentials()
