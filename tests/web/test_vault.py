"""Secrets at rest are unreadable without SECRET_KEY, and outlive its replacement."""

import pytest
from cryptography.fernet import Fernet

from app.vault import Vault, VaultError

OLD, NEW = "old-" * 10, "new-" * 10
TEXT = "http://user:canary-ü@1.2.3.4:80"


def test_what_was_encrypted_is_read_again_and_tells_nothing_meanwhile() -> None:
    vault = Vault([OLD])
    token = vault.encrypt(TEXT)
    assert token.isascii()
    assert "canary" not in token
    assert token != vault.encrypt(TEXT)
    assert Vault([OLD]).decrypt(token) == TEXT
    assert vault.decrypt(vault.encrypt("")) == ""


def test_another_secret_or_a_damaged_token_is_an_error_that_says_so() -> None:
    token = Vault([OLD]).encrypt(TEXT)
    for vault, given in ((Vault([NEW]), token), (Vault([OLD]), token[:-5] + "AAAA="), (Vault([OLD]), ""), (Vault([OLD]), "ü"), (Vault([OLD]), "\ud800"),
                         (Vault([OLD]), Fernet(Fernet.generate_key()).encrypt(b"x").decode())):  # fmt: skip
        for read in (vault.decrypt, vault.rotate):
            with pytest.raises(VaultError, match="SECRET_KEY") as error:
                read(given)
            assert error.value.__suppress_context__


def test_the_first_secret_encrypts_and_all_decrypt() -> None:
    both = Vault([NEW, OLD])
    old = Vault([OLD]).encrypt(TEXT)
    assert both.decrypt(old) == TEXT
    assert Vault([NEW]).decrypt(both.encrypt(TEXT)) == TEXT
    assert Vault([NEW]).decrypt(both.rotate(old)) == TEXT


def test_a_fingerprint_names_a_text_without_telling_it_and_belongs_to_the_first_secret() -> None:
    prints = {Vault([OLD]).fingerprint(TEXT), Vault([OLD, NEW]).fingerprint(TEXT)}
    assert len(prints) == 1
    assert len(prints.pop()) == 64
    assert Vault([OLD]).fingerprint(TEXT) != Vault([OLD]).fingerprint(TEXT + " ")
    assert Vault([OLD]).fingerprint(TEXT) != Vault([NEW]).fingerprint(TEXT)


def test_keys_stay_the_same_from_one_version_of_binnacle_to_the_next() -> None:
    """Fixed by HKDF-SHA256 without salt, info "binnacle vault": a change would make stored secrets unreadable."""
    token = "gAAAAABrAmGKqpFFdoU5Wjyhf9glqcHpNkzf0IO64oZVLk3UB9jRAUJWUarIDP9s5p_yQT3-N_tsrY5ypQc9jF1p92MM7XBmfA=="
    assert Vault(["s" * 32]).decrypt(token) == "a stored secret"
    assert Vault(["s" * 32]).fingerprint("a stored secret") == "4bc32bae6a01ddda67ab931db79080e01c58ef5445cc7824fe34f83c527433f5"


@pytest.mark.parametrize("secrets", [[], [""], [OLD, ""], OLD])
def test_a_vault_needs_a_secret(secrets: list[str]) -> None:
    with pytest.raises(ValueError, match="secrets"):
        Vault(secrets)


def test_a_vault_does_not_show_its_keys() -> None:
    assert OLD not in repr(Vault([OLD]))
