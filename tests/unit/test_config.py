"""Settings: validated at start, messages name the variable and never a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import ConfigurationError, Settings, load_settings, require_safe_access

ROOT = Path(__file__).parents[2]


def test_every_unusable_variable_is_named_and_no_value_is_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(
            {"REDIS_PORT": "abc", "ADVOWARE_TOKEN_LIFETIME_MINUTES": "1", "ESPOCRM_WEBHOOK_SECRETS": "geheim"}
        )

    message = str(caught.value)
    assert all(name in message for name in ("REDIS_PORT", "ADVOWARE_TOKEN_LIFETIME_MINUTES", "ESPOCRM_WEBHOOK_SECRETS"))
    assert "geheim" not in message
    assert "abc" not in message


def test_secrets_do_not_show_in_the_settings_text() -> None:
    settings = load_settings({"ADVOWARE_PASSWORD": "geheim", "BITBYLAW_API_KEYS": "geheim", "REDIS_PASSWORD": "geheim"})

    assert "geheim" not in repr(settings)


def test_settings_survive_the_way_through_the_environment() -> None:
    settings = load_settings({"ADVOWARE_PASSWORD": "geheim", "ESPOCRM_API_BASE_URL": "https://crm.example/api/v1/"})

    assert load_settings(settings.environment()) == settings


def test_real_systems_are_not_reachable_without_a_key() -> None:
    with pytest.raises(ConfigurationError, match="BITBYLAW_API_KEYS"):
        require_safe_access(load_settings({"ADVOWARE_APP_ID": "a", "ADVOWARE_KANZLEI": "k"}))
    with pytest.raises(ConfigurationError, match="ESPOCRM_WEBHOOK_TOKEN"):
        require_safe_access(
            load_settings({"ESPOCRM_API_BASE_URL": "https://crm.example/api/v1", "ESPOCRM_WEBHOOK_SECRETS": "a:b"})
        )
    require_safe_access(load_settings({"ESPOCRM_API_BASE_URL": "http://127.0.0.1:4020/api/v1"}))


def test_env_example_lists_every_variable_with_a_comment() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    listed = {
        line.lstrip("#").partition("=")[0].strip() for line in lines if "=" in line and " " not in line.split("=")[0]
    }
    variables = {
        f"{group.annotation.model_config['env_prefix']}{field}".upper()
        for group in Settings.model_fields.values()
        for field in group.annotation.model_fields
    }

    assert variables - listed == set()
    for number, line in enumerate(lines):
        if "=" in line and not line.startswith("# "):
            assert lines[number - 1].startswith("# "), f"no comment above {line}"


@pytest.mark.parametrize("acl", ["reader", "reader:", "king:a@example.de", "a@example.de:reader"])
def test_a_sharing_rule_that_google_would_refuse_is_named_at_start(acl: str) -> None:
    with pytest.raises(ConfigurationError, match="GOOGLE_CALENDAR_ACL"):
        load_settings({"GOOGLE_CALENDAR_ACL": acl}, env_file="")


def test_sharing_rules_are_pairs_of_role_and_address() -> None:
    settings = load_settings({"GOOGLE_CALENDAR_ACL": "reader:a@example.de, writer:b@example.de"}, env_file="")

    assert settings.google_calendar.acl_rules == [("reader", "a@example.de"), ("writer", "b@example.de")]


def test_an_empty_override_unsets_what_environment_and_file_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "env"
    file.write_text("ESPOCRM_WEBHOOK_SECRETS=a:b\nREDIS_HOST=redis.example\nREDIS_PORT=no number\n")
    monkeypatch.setenv("POSTGRES_HOST", "postgres.example")
    unset = {"ESPOCRM_WEBHOOK_SECRETS": "", "REDIS_HOST": "", "REDIS_PORT": "", "postgres_host": ""}
    settings = load_settings(unset, env_file=file)

    monkeypatch.delenv("POSTGRES_HOST")
    assert settings == load_settings()
    assert settings.espocrm.webhook_keys == {}
    assert "host" not in settings.redis.model_fields_set | settings.postgres.model_fields_set
    with pytest.raises(ConfigurationError, match="REDIS_PORT"):
        load_settings(env_file=file)


def test_every_setting_can_be_unset() -> None:
    assert load_settings(dict.fromkeys(load_settings().environment(), "")) == load_settings()
