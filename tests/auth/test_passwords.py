"""RELIABILITY 1: how passwords are kept, and which are refused."""

import os
import threading
import time
from typing import Any

import pytest

from app import passwords
from app.errors import Invalid
from app.passwords import check_strength, hash_password, verify_password


def test_a_hash_is_argon2id_with_19_mib_two_passes_and_one_lane() -> None:
    hashed = hash_password("a-long-enough-password")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert verify_password(hashed, "a-long-enough-password")
    assert not verify_password(hashed, "another-password")
    assert hash_password("a-long-enough-password") != hashed, "each has a salt of its own"


def test_at_most_one_hash_a_core_runs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()

    class Slow:
        def hash(self, _password: str) -> str:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1
            return "hashed"

    slow: Any = Slow()
    monkeypatch.setattr(passwords, "_hasher", slow)
    threads = [threading.Thread(target=hash_password, args=("x",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= (os.cpu_count() or 1)


@pytest.mark.parametrize("password", ["1234567", "password", "PassWord", "baseball", "x" * 257, "alice-the-admin"])
def test_short_common_overlong_and_own_names_are_refused(password: str) -> None:
    with pytest.raises(Invalid):
        check_strength(password, "alice-the-admin")


@pytest.mark.parametrize(
    "password", ["aaaaaaaa!", "only letters here", "x" * 64, "x" * 256, "пароль-на-все", "\N{PILE OF POO}" * 8]
)
def test_there_are_no_rules_of_composition(password: str) -> None:
    check_strength(password, "alice")


def test_the_commonest_three_thousand_are_known() -> None:
    assert len(passwords._common()) == 3000
