"""Active checks, made by the worker: a real request through the proxy, outside any transaction, its result stored after it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from flask import Flask

from app.actors import SYSTEM
from app.config import Settings
from app.database import reading, session, unit_of_work
from app.factory import settings_of, vault_of
from app.logging import get_logger
from app.proxies import operations, queries
from app.proxies.models import Proxy, ProxyCheck
from app.vault import VaultError

AT_ONCE = 8
TIMEOUT_S = 15.0
LEASE = timedelta(seconds=60)
log = get_logger(__name__)


class Checker:
    """Runs checks that wait, a few at once, each at most TIMEOUT_S; a check whose worker died is made again after its lease."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="proxy-check")
        self._free = threading.BoundedSemaphore(AT_ONCE)

    def run(self) -> None:
        """Claim as many as there are hands free, and start them."""
        free = 0
        while free < AT_ONCE and self._free.acquire(blocking=False):
            free += 1
        if not free:
            return
        claimed: list[str] = []
        try:
            with unit_of_work():
                claimed = queries.claim_checks(free, LEASE)
            for check_id in claimed:
                self._pool.submit(self._one, check_id)
        finally:
            for _ in range(free - len(claimed)):
                self._free.release()

    def _one(self, check_id: str) -> None:
        try:
            with self._app.app_context():
                make(self._app, check_id)
        except Exception as error:  # the lease runs out, and the check is made again
            log.error("proxy check not stored", error=f"{type(error).__name__}: {error}"[:300])
        finally:
            self._free.release()


def make(app: Flask, check_id: str) -> None:
    """Make one check and store what came of it."""
    from app.proxy_check import CheckResult, check_through  # see `app.pinned_network`

    with reading():
        check = session().get(ProxyCheck, check_id)
        proxy = session().get(Proxy, check.proxy_id) if check else None
        if check is None or proxy is None:
            return
        address, target, problem = proxy.address, check.target, None
        if proxy.sealed:
            try:
                address = vault_of(app).decrypt(proxy.sealed)
            except VaultError:
                problem = "its credentials cannot be read: SECRET_KEY was changed since a session used it"
    if problem:
        result = CheckResult(ok=False, latency_ms=None, status=None, exit_address=None, error=problem)
    else:
        result = check_through(address, target, allow=settings_of(app).outbound_allow, timeout_s=TIMEOUT_S)
    with unit_of_work():
        operations.store_result(check_id, result)


def request_due(settings: Settings) -> None:
    """Ask for the checks that the clock wants, when BINNACLE_PROXY_CHECK_MINUTES is set."""
    if settings.proxy_check_minutes:
        with unit_of_work():
            due = queries.stale_checks(timedelta(minutes=settings.proxy_check_minutes), 50)
            if due:
                operations.request_checks([proxy.id for proxy in due], settings.proxy_check_url, actor=SYSTEM)
