"""Changing single settings in `.env` while every other line stays as it is."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from config import ConfigurationError, Settings, unknown_names

#: As the names of settings begin that are no one else's.
_OWN_NAME = re.compile(
    "(ADVOWARE|BITBYLAW|CALENDAR_SYNC|ESPOCRM|GOOGLE_CALENDAR|VMH)_",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)  # also for shells
_LINE_END = re.compile(r"(\r\n|\n|\r)?\Z")
_COMMENT = re.compile(r"[^\S\r\n]+#[^\r\n]*(?=(?:\r\n|\n|\r)?\Z)")


class EnvFile:
    """A file of settings.

    A change is written at once: into a new file with the rights 0600 and the owner of the old one, which then takes its
    place. Nothing else is left behind.
    """

    def __init__(self, path: Path, template: Path) -> None:
        """``template`` is what a file that does not exist yet begins with, `.env.example`."""
        self.path = path.resolve()  # a link stays a link
        self._template = template

    def values(self) -> dict[str, str]:
        """The settings as they are read: of several lines for one, the last counts."""
        return {
            binding.key: binding.value or ""
            for binding in self._bindings()
            if binding.key
        }

    def change(self, settings: dict[str, str]) -> list[str]:
        """Write these settings; returns the names of those that were not so already.

        Raises:
            ConfigurationError: the file cannot be read or written.
        """
        present = self.values()
        changed = {
            name: value
            for name, value in settings.items()
            if value != present.get(name, "")
        }
        if changed:
            self._write(self._with(changed))
        return list(changed)

    def _bindings(self) -> list[Binding]:
        source = self.path if self.path.exists() else self._template
        try:
            text = source.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{source}: cannot be read ({type(error).__name__})",
            ) from error
        return list(parse_stream(io.StringIO(text, newline="")))

    def _with(self, changed: dict[str, str]) -> str:
        last: dict[str | None, int] = {}
        parts: list[str] = []
        for binding in self._bindings():
            last[binding.key] = len(parts)
            parts.append(binding.original.string)
        added = ""
        for name, value in changed.items():
            if name not in last:
                added += f"{name}={_quoted(value)}\n"
                continue
            place = last[name]
            parts[place] = _replaced(parts[place], value)
        text = "".join(parts)
        if not added:
            return text
        if text and not text.endswith(("\n", "\r")):
            text += "\n"
        return text + added

    def _write(self, text: str) -> None:
        directory = self.path.parent
        try:
            handle, name = tempfile.mkstemp(
                prefix=f"{self.path.name}.",
                dir=directory,
            )  # 0600
        except OSError as error:
            raise ConfigurationError(
                f"{directory}: no file can be made there ({type(error).__name__})",
            ) from error
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                self._keep_owner(file.fileno())
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except OSError as error:
            raise ConfigurationError(
                f"{self.path}: cannot be written ({type(error).__name__})",
            ) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()

    def _keep_owner(self, handle: int) -> None:
        """The service that reads the file may run as another user than who sets it up."""
        with contextlib.suppress(FileNotFoundError):
            owner = self.path.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)


def unread_notice(settings: Settings, env_file: Path | None) -> list[str]:
    """What whoever starts the system should know: names that nothing reads, in the environment or the file."""
    names = set(os.environ)
    if env_file is not None:
        names |= EnvFile(env_file, env_file).values().keys()
    unread = unknown_names(settings, filter(_OWN_NAME.match, names))
    if not unread:
        return []
    return [f"Nothing reads {', '.join(unread)}; .env.example has all names."]


def _replaced(line: str, value: str) -> str:
    """A line, with blank lines before it, that says another value; ``export`` and a comment behind it stay."""
    before, _, after = line.partition("=")
    if not after:
        before = before.rstrip()
    comment = ""
    is_quoted = after.lstrip().startswith(("'", '"'))
    if not is_quoted:
        comment = _found(_COMMENT, after)
    end = _found(_LINE_END, line)
    return f"{before}={_quoted(value)}{comment}{end}"


def _found(pattern: re.Pattern[str], text: str) -> str:
    """What a pattern finds in a text; empty if nothing."""
    match = pattern.search(text)
    if match is None:
        return ""
    return match.group()


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
