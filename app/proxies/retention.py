"""Retention of proxies, run by the worker together with that of sessions."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select

from app.database import session
from app.journal.operations import tick
from app.proxies.models import Proxy, ProxyCheck
from app.proxies.operations import CLOCK


def remove_unused(before: datetime, named: Any, limit: int) -> int:
    """Remove proxies that no session has gone through since `before`, with their targets and checks; returns how many.

    `named` is the condition that a stored session still names the row of `Proxy`: such a proxy stays, or what is counted of it
    would no longer be what its sessions came to. One that somebody has disabled stays too, for else it would be back, enabled,
    with its next use; and so does one that is being checked.
    """
    tick(CLOCK)  # first: a session that begins to use it meanwhile waits, and then makes it anew
    checked = select(ProxyCheck.proxy_id).where(ProxyCheck.finished_at.is_(None))
    unused = select(Proxy.id).where(func.coalesce(Proxy.last_used, Proxy.created_at) < before, Proxy.created_at < before)
    unused = unused.where(Proxy.enabled, ~named, Proxy.id.not_in(checked)).order_by(Proxy.id).limit(limit)
    ids = list(session().scalars(unused))
    if ids:
        session().execute(delete(Proxy).where(Proxy.id.in_(ids)), execution_options={"synchronize_session": False})
    return len(ids)
