"""RELIABILITY 20: the secret that everything is sealed with is replaced by a command; nothing sealed is lost."""

from pathlib import Path

import pytest
from conftest import Cast
from pydantic import SecretStr
from sqlalchemy import select

from app.database import session
from app.factory import settings_of, vault_of
from app.fleet.models import Inventory
from app.journal.models import JournalEntry
from app.proxies.models import Proxy
from app.rotation import next_secret, rotate
from app.vault import Vault, VaultError

ADDRESS = "http://login:a-canary-password@gateway.example:8080"
NEW = "the new secret of this test"


def register(cast: Cast, session_id: str) -> None:
    """A bot names a proxy with a password."""
    body = {"name": "bot", "role": "executor", "tenant_ids": [cast.acme]}
    key = cast.client("alice").post("/api/v1/api-keys", json=body).json["key"]
    said = {"session_id": session_id, "profile_id": "p", "proxy": ADDRESS}
    assert cast.app.test_client().post("/api/sessions/register", json=said, headers={"X-API-Key": key}).status_code == 200


def test_everything_sealed_can_be_read_with_the_new_secret_alone(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, alice = vault_of(cast.app), Vault([NEW]), cast.client("alice")
    register(cast, "before")
    foreign = Vault(["somebody else's secret"]).encrypt("theirs")
    made = alice.post(
        "/api/v1/servers", json={"name": "x", "metadata": {"deep": [{"sealed": old.encrypt("inside")}], "not": foreign}}
    )
    assert made.status_code == 201
    secret = settings_of(cast.app).secret_key
    assert secret is not None
    with cast.app.app_context():
        counted = rotate(Vault([NEW, secret.get_secret_value()]))
        proxy = session().scalar(select(Proxy))
        assert new.decrypt(proxy.sealed) == ADDRESS
        assert proxy.fingerprint == new.fingerprint(ADDRESS)
        with pytest.raises(VaultError):
            old.decrypt(proxy.sealed)
        document = session().scalar(select(Inventory.custom))
        assert new.decrypt(document["deep"][0]["sealed"]) == "inside"
        assert document["not"] == foreign
        entry = session().scalar(select(JournalEntry).where(JournalEntry.type == "system.secret_rotated"))
        assert counted == entry.data == {"resealed": 2, "unreadable": 1}
        session().remove()
    monkeypatch.setitem(cast.app.extensions, "binnacle_vault", new)
    register(cast, "after")
    with cast.app.app_context():
        assert len(session().scalars(select(Proxy)).all()) == 1, "the same proxy is known again"
        session().remove()


def test_a_server_reads_what_either_secret_sealed_while_it_is_replaced(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, known = settings_of(cast.app), vault_of(cast.app)
    monkeypatch.setattr(settings, "secret_key_previous", settings.secret_key)
    monkeypatch.setattr(settings, "secret_key", SecretStr("n" * 40))
    cast.app.extensions.pop("binnacle_vault")
    try:
        assert vault_of(cast.app).decrypt(known.encrypt("text")) == "text"
    finally:
        cast.app.extensions["binnacle_vault"] = known


def test_a_rotation_that_was_cut_off_is_taken_up_with_its_own_secrets(tmp_path: Path) -> None:
    path, before = tmp_path / "secret-key", tmp_path / "secret-key.previous"
    path.write_text("first")
    new, old = next_secret(path)
    assert (path.read_text(), before.read_text(), old) == (new, "first", "first")
    assert new != "first"
    assert path.stat().st_mode & 0o777 == before.stat().st_mode & 0o777 == 0o600
    assert next_secret(path) == (new, "first")
    path.write_text("first")  # killed between the two files
    third, old = next_secret(path)
    assert old == "first"
    assert third not in ("first", new)
