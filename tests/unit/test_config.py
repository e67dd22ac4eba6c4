"""Settings: validated at start, messages name the variable and never a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import ConfigurationError, Settings, load_settings, require_safe_access

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef01234567"


def test_every_unusable_variable_is_named_and_no_value_is_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(
            {
                "REDIS_PORT": "abc",
                "ADVOWARE_TOKEN_LIFETIME_MINUTES": "1",
                "ESPOCRM_WEBHOOK_SECRETS": "geheim",
            }
        )

    message = str(caught.value)
    assert all(
        name in message
        for name in (
            "REDIS_PORT",
            "ADVOWARE_TOKEN_LIFETIME_MINUTES",
            "ESPOCRM_WEBHOOK_SECRETS",
        )
    )
    assert "geheim" not in message
    assert "abc" not in message


def test_secrets_do_not_show_in_the_settings_text() -> None:
    settings = load_settings(
        {"ADVOWARE_PASSWORD": KEY, "BITBYLAW_API_KEYS": KEY, "REDIS_PASSWORD": KEY}
    )

    assert KEY not in repr(settings)


def test_settings_survive_the_way_through_the_environment() -> None:
    settings = load_settings(
        {
            "ADVOWARE_PASSWORD": "geheim",
            "ESPOCRM_API_BASE_URL": "https://crm.example/api/v1/",
        }
    )

    assert load_settings(settings.environment()) == settings


ADVOWARE = {"ADVOWARE_APP_ID": "a", "ADVOWARE_KANZLEI": "k"}
LOCAL_ADVOWARE = {
    **ADVOWARE,
    "ADVOWARE_API_BASE_URL": "http://127.0.0.1:4010",
    "ADVOWARE_AUTH_URL": "http://127.0.0.1:4010/api/v1/Token",
}
ESPOCRM = {"ESPOCRM_API_BASE_URL": "https://crm.example/api/v1"}
LOCAL_ESPOCRM = {"ESPOCRM_API_BASE_URL": "http://127.0.0.1:4020/api/v1"}
GOOGLE = {"GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH": "/account.json"}
LOCAL_GOOGLE = {**GOOGLE, "GOOGLE_CALENDAR_API_ENDPOINT": "http://127.0.0.1:4030"}
TWINS = {
    "BITBYLAW_TWINS": "http://127.0.0.1:4010, http://127.0.0.1:4020,http://127.0.0.1:4030"
}
KEYS = {"BITBYLAW_API_KEYS": KEY, "ESPOCRM_WEBHOOK_TOKEN": KEY}


@pytest.mark.parametrize(
    "variables",
    [
        ADVOWARE,
        ESPOCRM,
        GOOGLE,
        LOCAL_ADVOWARE,
        LOCAL_ESPOCRM,
        LOCAL_GOOGLE,
        LOCAL_ADVOWARE | LOCAL_ESPOCRM,
    ],
    ids=[
        "Advoware",
        "EspoCRM",
        "Google",
        "a tunnel to Advoware",
        "to EspoCRM",
        "to Google",
        "two tunnels",
    ],
)
def test_one_real_system_makes_all_keys_necessary_wherever_it_is(
    variables: dict[str, str],
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_safe_access(load_settings(variables))
    for half in KEYS:
        others = {name: value for name, value in KEYS.items() if name != half}
        with pytest.raises(ConfigurationError, match=half):
            require_safe_access(load_settings(variables | others))

    assert all(name in str(caught.value) for name in KEYS)
    require_safe_access(load_settings(variables | KEYS))


def test_signature_secrets_do_not_replace_the_token() -> None:
    secrets = {"BITBYLAW_API_KEYS": KEY, "ESPOCRM_WEBHOOK_SECRETS": f"a:{KEY}"}
    with pytest.raises(ConfigurationError, match="ESPOCRM_WEBHOOK_TOKEN"):
        require_safe_access(load_settings(ESPOCRM | secrets))


def test_twins_need_no_keys() -> None:
    settings = load_settings(LOCAL_ADVOWARE | LOCAL_ESPOCRM | LOCAL_GOOGLE | TWINS)

    require_safe_access(settings)
    assert (settings.real_systems, settings.mode) == ([], "twins")


@pytest.mark.parametrize(
    "variables",
    [
        {**LOCAL_ESPOCRM, "ESPOCRM_API_BASE_URL": "http://127.0.0.1:4021/api/v1"},
        {**LOCAL_ESPOCRM, "ESPOCRM_API_BASE_URL": "http://localhost:4020/api/v1"},
        {**LOCAL_ESPOCRM, "ESPOCRM_API_BASE_URL": "https://127.0.0.1:4020/api/v1"},
        {**LOCAL_ADVOWARE, "ADVOWARE_AUTH_URL": "https://security.example"},
        {**LOCAL_ADVOWARE, "ADVOWARE_AUTH_URL": ""},
        {**LOCAL_GOOGLE, "GOOGLE_CALENDAR_API_ENDPOINT": ""},
    ],
    ids=[
        "port",
        "host",
        "scheme",
        "half of Advoware",
        "the vendor's configurator",
        "Google itself",
    ],
)
def test_a_system_is_a_twin_only_if_each_of_its_addresses_is_named(
    variables: dict[str, str],
) -> None:
    assert len(load_settings(variables | TWINS).real_systems) == 1


@pytest.mark.parametrize(
    "variables",
    [
        ADVOWARE | LOCAL_ESPOCRM,
        ESPOCRM | LOCAL_ADVOWARE,
        GOOGLE | LOCAL_ADVOWARE | LOCAL_ESPOCRM,
    ],
)
def test_a_real_system_beside_a_twin_is_a_trial_and_must_be_called_one(
    variables: dict[str, str],
) -> None:
    with pytest.raises(ConfigurationError, match="BITBYLAW_TRIAL"):
        require_safe_access(load_settings(variables | TWINS | KEYS))
    with pytest.raises(ConfigurationError, match="BITBYLAW_API_KEYS"):
        require_safe_access(
            load_settings({**variables, **TWINS, "BITBYLAW_TRIAL": "true"})
        )

    trial = load_settings({**variables, **TWINS, **KEYS, "BITBYLAW_TRIAL": "true"})
    require_safe_access(trial)
    assert trial.mode == "trial"


@pytest.mark.parametrize(
    "value",
    [
        " ",
        "\t",
        f"{KEY},",
        f",{KEY}",
        f"{KEY}, ,{KEY}",
        "short",
        f"{KEY},short",
        f"{KEY[:-1]}",
        f"{KEY} {KEY}",
        f"{KEY}ü",
    ],
)
def test_a_weak_or_blank_key_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ConfigurationError, match="BITBYLAW_API_KEYS") as caught:
        load_settings({"BITBYLAW_API_KEYS": value})

    assert KEY[:-1] not in str(caught.value)


@pytest.mark.parametrize(
    "value", [" ", "short", KEY[:-1], f"{KEY} ", f"{KEY}\n", f"{KEY}ü"]
)
def test_a_weak_or_blank_webhook_token_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="ESPOCRM_WEBHOOK_TOKEN"):
        load_settings({"ESPOCRM_WEBHOOK_TOKEN": value})


@pytest.mark.parametrize(
    "value",
    [" ", f"a:{KEY},", "a:short", f"a: ,b:{KEY}", f":{KEY}", f"a:{KEY},,b:{KEY}"],
)
def test_a_weak_or_blank_webhook_secret_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="ESPOCRM_WEBHOOK_SECRETS"):
        load_settings({"ESPOCRM_WEBHOOK_SECRETS": value})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CALENDAR_SYNC_DEBUG_KUERZEL", ","),
        ("CALENDAR_SYNC_DEBUG_KUERZEL", " "),
        ("CALENDAR_SYNC_DEBUG_KUERZEL", "SB,"),
        ("GOOGLE_CALENDAR_ACL", "reader:a@example.de,,reader:b@example.de"),
        ("ESPOCRM_MARVIN_API_KEY", "  "),
        ("BITBYLAW_TWINS", "http://127.0.0.1:4010,"),
        ("BITBYLAW_TWINS", "127.0.0.1:4010"),
        ("BITBYLAW_PLAIN_HTTP_HOSTS", "http://crm"),
    ],
)
def test_a_blank_never_passes_for_none_or_for_all(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        load_settings({variable: value})


@pytest.mark.parametrize(
    ("variable", "rest"),
    [
        ("ESPOCRM_API_BASE_URL", "/api/v1"),
        ("ADVOWARE_API_BASE_URL", ":90/"),
        ("ADVOWARE_AUTH_URL", ""),
        ("ADVOWARE_CONFIGURATOR_URL", "/AdvonetConfigurator/api/Url"),
        ("GOOGLE_CALENDAR_API_ENDPOINT", ""),
    ],
)
def test_plain_http_to_another_host_must_be_allowed_by_name(
    variable: str, rest: str
) -> None:
    for host in ("crm.example", "192.168.1.5", "127.0.0.1.example", "0.0.0.0"):  # noqa: S104 - an address to ask
        with pytest.raises(ConfigurationError, match=variable):
            load_settings(
                {
                    variable: f"http://{host}{rest}",
                    "BITBYLAW_PLAIN_HTTP_HOSTS": "other.example",
                }
            )
        load_settings(
            {
                variable: f"http://{host}{rest}",
                "BITBYLAW_PLAIN_HTTP_HOSTS": f"other.example, {host.upper()}",
            }
        )
        load_settings({variable: f"https://{host}{rest}"})
    for host in ("127.0.0.1", "localhost", "[::1]", "127.5.0.1"):
        load_settings({variable: f"http://{host}{rest}"})


@pytest.mark.parametrize(
    "value",
    [
        "crm.example/api/v1",
        "ftp://crm.example",
        "https://",
        "https://crm:geheim",
        "//x",
    ],
)
def test_an_address_that_is_none_is_named_and_not_quoted(value: str) -> None:
    with pytest.raises(ConfigurationError, match="ESPOCRM_API_BASE_URL") as caught:
        load_settings({"ESPOCRM_API_BASE_URL": value})

    assert "geheim" not in str(caught.value)


def test_an_override_can_unset_what_the_file_sets(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        f"ESPOCRM_WEBHOOK_SECRETS=a:{KEY}\nREDIS_HOST=redis.example\nREDIS_PORT=6380\n"
    )

    kept = load_settings({"REDIS_PORT": "6381"}, env_file=file)
    assert (kept.redis.host, kept.redis.port, kept.espocrm.webhook_keys) == (
        "redis.example",
        6381,
        {"a": KEY},
    )
    unset = load_settings(
        {"ESPOCRM_WEBHOOK_SECRETS": "", "REDIS_HOST": None}, env_file=file
    )
    assert (unset.redis.host, unset.redis.port, unset.espocrm.webhook_keys) == (
        "127.0.0.1",
        6380,
        {},
    )
    assert unset.redis.model_fields_set == {"port"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b'REDIS_HOST=a\n\n# geheim\nBITBYLAW_READ_ONLY="true\n', 4),
        (b'BITBYLAW_READ_ONLY="true\nADVOWARE_PASSWORD="geheim"\n', 1),
        (b"REDIS_HOST=a\r\nBITBYLAW_READ_ONLY true\r\n", 2),
        (b"BITBYLAW_READ_ONLY\n", 1),
        (b"BITBYLAW_READ_ONLY: true # geheim\n", 1),
    ],
)
def test_a_line_of_the_file_that_sets_nothing_is_named_and_not_passed_over(
    tmp_path: Path, text: bytes, line: int
) -> None:
    file = tmp_path / ".env"
    file.write_bytes(text)

    with pytest.raises(ConfigurationError, match=f"line {line} ") as caught:
        load_settings(env_file=file)

    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("value", ["ge${heim}nis", "'ge${heim}nis'", '"${}geheim"'])
def test_a_value_of_the_file_in_which_something_is_replaced_by_nothing_is_named(
    tmp_path: Path, value: str
) -> None:
    file = tmp_path / ".env"
    file.write_text(f"# Redis\nREDIS_PASSWORD={value}\n")

    with pytest.raises(ConfigurationError, match="line 2 ") as caught:
        load_settings(env_file=file)

    assert "geheim" not in str(caught.value)
    assert "heim" not in str(caught.value)


def test_variables_that_are_set_are_replaced_in_the_file_and_dollars_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", "store.example")
    file = tmp_path / ".env"
    file.write_text(
        "POSTGRES_HOST=${STORE}\nREDIS_HOST=${POSTGRES_HOST}\n"
        "POSTGRES_USER=${USER_OF_STORE:-sync}\nREDIS_PASSWORD=a$b{c}$\n"
    )

    settings = load_settings(env_file=file)

    assert (settings.postgres.host, settings.redis.host) == ("store.example",) * 2
    assert settings.postgres.user == "sync"
    assert settings.redis.password.get_secret_value() == "a$b{c}$"


DURATIONS = [
    f"{group.annotation.model_config['env_prefix']}{name}".upper()
    for group in Settings.model_fields.values()
    if group.annotation is not None
    for name in group.annotation.model_fields
    if name.endswith(("_seconds", "_minutes", "_days")) or name.startswith("days_")
]


@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "9" * 12])
@pytest.mark.parametrize("variable", DURATIONS)
def test_a_duration_without_end_is_refused(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        load_settings({variable: value})


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_in_another_encoding_is_named_without_a_traceback(
    tmp_path: Path, encoding: str
) -> None:
    file = tmp_path / ".env"
    file.write_bytes("REDIS_PASSWORD=geheimnisträger\n".encode(encoding))

    with pytest.raises(ConfigurationError, match="not UTF-8") as caught:
        load_settings(env_file=file)

    assert "geheim" not in str(caught.value)


def test_a_file_as_editors_on_windows_write_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(
        b"\xef\xbb\xbfBITBYLAW_READ_ONLY=true\r\n\r\n# Kommentar\r\nREDIS_PORT = 6381 \r\n"
    )

    settings = load_settings(env_file=file)

    assert (settings.service.read_only, settings.redis.port) == (True, 6381)


def test_env_example_lists_every_variable_with_a_comment() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    listed = {
        line.lstrip("#").partition("=")[0].strip()
        for line in lines
        if "=" in line and " " not in line.split("=")[0]
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


@pytest.mark.parametrize(
    ("acl", "message"),
    [
        ("reader", "entry 1: must be role:email"),
        ("reader:", "no e-mail address"),
        (":a@example.de", "must be role:email"),
        (
            "king:a@example.de",
            "the role must be one of freeBusyReader, reader, writer, owner",
        ),
        ("a@example.de:reader", "the role must be one of"),
        (
            "reader:a@example.de, SB:king:a@example.de",
            "entry 2: the role must be one of",
        ),
        ("SB:reader:a@b@example.de", "no e-mail address"),
        ("SB:reader:anna", "no e-mail address"),
        ("reader:a@example", "no e-mail address"),
        ("reader:an na@example.de", "no e-mail address"),
        (" :reader:a@example.de", "the Kürzel before the role is empty"),
        ("SB:AI:reader:a@example.de", "must be role:email or KÜRZEL:role:email"),
        (
            "SB:reader:a@example.de,SB:writer:A@example.de",
            "entry 2: gives an account another role",
        ),
        ("reader:a@example.de,,writer:b@example.de", "without blank entries"),
    ],
)
def test_a_sharing_rule_that_google_would_refuse_is_named_at_start(
    acl: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match="GOOGLE_CALENDAR_ACL") as refusal:
        load_settings({"GOOGLE_CALENDAR_ACL": acl}, env_file="")

    assert message in str(refusal.value)
    assert "example" not in str(refusal.value)  # no person's address in a log


def test_a_calendar_is_shared_by_the_rules_for_all_and_by_its_own() -> None:
    acl = "reader:A@Example.de, SB : writer : sb@example.de,SB:freeBusyReader:a@example.de,reader:a@example.de"
    google = load_settings({"GOOGLE_CALENDAR_ACL": acl}, env_file="").google_calendar

    assert google.sharing_of("SB") == {
        "a@example.de": "freeBusyReader",
        "sb@example.de": "writer",
    }
    assert (
        google.sharing_of("AI") == google.sharing_of("sb") == {"a@example.de": "reader"}
    )


def test_an_empty_override_unsets_what_environment_and_file_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "env"
    file.write_text(
        "ESPOCRM_WEBHOOK_SECRETS=a:b\nREDIS_HOST=redis.example\nREDIS_PORT=no number\n"
    )
    monkeypatch.setenv("POSTGRES_HOST", "postgres.example")
    unset = {
        "ESPOCRM_WEBHOOK_SECRETS": "",
        "REDIS_HOST": "",
        "REDIS_PORT": "",
        "postgres_host": "",
    }
    settings = load_settings(unset, env_file=file)

    monkeypatch.delenv("POSTGRES_HOST")
    assert settings == load_settings()
    assert settings.espocrm.webhook_keys == {}
    assert (
        "host"
        not in settings.redis.model_fields_set | settings.postgres.model_fields_set
    )
    with pytest.raises(ConfigurationError, match="REDIS_PORT"):
        load_settings(env_file=file)


def test_every_setting_can_be_unset() -> None:
    assert (
        load_settings(dict.fromkeys(load_settings().environment(), ""))
        == load_settings()
    )
