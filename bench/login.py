"""Login: how long an unknown user name and a wrong password take, in turns (RELIABILITY 2: the medians within 5 ms)."""

import random
import time
import urllib.error
import urllib.parse
import urllib.request
from statistics import median

from bench.results import Figure
from bench.servers import Product, inside, product, serve

PEOPLE, TURNS = 24, 5  # an account takes 10 attempts a minute


def run() -> list[Figure]:
    """Both, one after the other, many times."""
    with product(prepare=True) as made:
        _people(made)
        made.environment["BINNACLE_TRUSTED_PROXIES"] = "1"  # each attempt comes from an address of its own: they are limited
        serve(made)
        unknown, wrong = [], []
        for turn in range(TURNS):
            for number in range(PEOPLE):
                unknown.append(_attempt(made, f"nobody-{turn}-{number}"))
                wrong.append(_attempt(made, f"person-{number}"))
    apart = abs(median(unknown) - median(wrong))
    said = f"{apart:.1f} ms apart (unknown user {median(unknown):.1f} ms, wrong password {median(wrong):.1f} ms)"
    return [Figure("login: unknown user against wrong password", said, "≤ 5 ms", apart <= 5)]


def _people(made: Product) -> None:
    from app.actors import SYSTEM, Role
    from app.auth.operations import create_user
    from app.database import unit_of_work

    with inside(made):
        for number in range(PEOPLE):
            with unit_of_work():
                create_user(f"person-{number}", None, "a-long-enough-password", Role.READONLY, actor=SYSTEM)


def _attempt(made: Product, name: str) -> float:
    """The time in ms of one refused login."""
    form = urllib.parse.urlencode({"username": name, "password": "another-long-password"}).encode()
    request = urllib.request.Request(
        f"{made.url}/api/auth/login", form, {"X-Forwarded-For": f"10.0.0.{random.randrange(1, 250)}"}
    )
    started = time.perf_counter()
    try:
        urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        error.read()
        if error.code != 401:
            raise
        return (time.perf_counter() - started) * 1000
    raise RuntimeError("a wrong password was accepted")
