"""Settings fail loudly: a wrong value stops the boot, names the setting, and never repeats a secret."""

from pathlib import Path

import pytest

from app.config import EXAMPLE_SECRETS, ConfigError, load_settings


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINNACLE_DATA_DIR", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BINNACLE_BIND", "nonsense"), ("BINNACLE_BIND", "example.com:80"), ("BINNACLE_BIND", "127.0.0.1:99999"), ("DATABASE_URL", "mysql://x"),
        ("REDIS_URL", "http://x"), ("BINNACLE_OUTBOUND_ALLOW", "example.com"), ("BINNACLE_OUTBOUND_ALLOW", "10.0.0.1/8"), ("BINNACLE_OUTBOUND_ALLOW", "10.0.0.0/8,"), ("ACCESS_TOKEN_EXPIRE_MINUTES", "soon"), ("ACCESS_TOKEN_EXPIRE_MINUTES", "0"), ("BINNACLE_LOG_LEVEL", "loud"),
        ("BINNACLE_TYPO", "1"), ("BINNACLE_WEB_PROCESSES", "2"), ("BINNACLE_ADMIN_USERNAME", "only"), ("BINNACLE_REGISTRATION_ROLE", "god"),
        ("SECRET_KEY_FILE", "/nonexistent"),
    ],
)  # fmt: skip
def test_a_wrong_value_stops_the_boot_and_names_the_setting(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        load_settings()
    assert name in str(error.value) or "BINNACLE_ADMIN_PASSWORD" in str(error.value)


@pytest.mark.parametrize("secret", sorted(EXAMPLE_SECRETS))
def test_the_documents_example_secrets_are_refused(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", secret)
    with pytest.raises(ConfigError, match="SECRET_KEY"):
        load_settings()


def test_network_mode_needs_a_real_secret_and_never_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINNACLE_BIND", "0.0.0.0:8000")
    with pytest.raises(ConfigError, match="SECRET_KEY must be 32 bytes"):
        load_settings()
    monkeypatch.setenv("SECRET_KEY", "canary-too-short")
    with pytest.raises(ConfigError) as error:
        load_settings()
    assert "canary" not in str(error.value)
    monkeypatch.setenv("SECRET_KEY", "c" * 32)
    assert load_settings().network_mode
    monkeypatch.setenv("BINNACLE_SINGLE_USER", "1")
    with pytest.raises(ConfigError, match="local mode only"):
        load_settings()


def test_local_mode_makes_its_own_secret_once_for_its_owner_only(tmp_path: Path) -> None:
    first, second = load_settings(), load_settings()
    assert first.secret_key is not None
    assert first.secret_key == second.secret_key
    assert (tmp_path / "data" / "secret-key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert "secret" not in repr(first).replace("secret_key=SecretStr", "").replace("secret_key_previous=None", "")


def test_a_secret_can_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text("k" * 40 + "\n")
    monkeypatch.setenv("SECRET_KEY_FILE", str(path))
    settings = load_settings()
    assert settings.secret_key is not None
    assert settings.secret_key.get_secret_value() == "k" * 40


@pytest.mark.parametrize("bind", ["127.0.0.1:8000", "[::1]:8000", "localhost:9"])
def test_loopback_is_local_mode(bind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINNACLE_BIND", bind)
    assert not load_settings().network_mode


def test_the_documents_database_url_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://username:password@host:5432/database")
    assert load_settings().sqlalchemy_url == "postgresql+psycopg://username:password@host:5432/database"


def test_the_password_of_the_command_line_is_no_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINNACLE_NEW_PASSWORD", "a-long-enough-password")
    load_settings()
