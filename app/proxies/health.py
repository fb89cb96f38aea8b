"""The health of a proxy as rules on plain values: windows, streaks, cooldown, status and the reason in words.

Status by contract 003: disabled, resting or under 50 % of successes is blacklisted, under 80 % flagged, else healthy; without
an ended session it counts as 100 %. Three failures in a row let it rest for 30 min, and twice as long each next time, up to a
day; twenty successes in a row forgive one offence.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from app.clock import to_ms
from app.proxies.models import ProxyStatus

BLACKLIST_BELOW, FLAG_BELOW = 0.5, 0.8
STREAK = 3
COOLDOWN = timedelta(minutes=30)
MAX_COOLDOWN = timedelta(hours=24)
FORGIVE_AFTER = 20
SLOT_MS, SLOTS = 5 * 60_000, 12  # the window: one hour in slots of five minutes
HOUR_MS, HOURS = 3_600_000, 24


def rate(successes: int, failures: int) -> float:
    """Successes ÷ ended, 0–1; 1 when nothing has ended."""
    ended = successes + failures
    return successes / ended if ended else 1.0


def status_of(proxy: Any, moment: datetime) -> ProxyStatus:
    """Contract 003's status now."""
    share = rate(proxy.successes, proxy.failures)
    if not proxy.enabled or share < BLACKLIST_BELOW or (proxy.cooldown_until is not None and proxy.cooldown_until > moment):
        return ProxyStatus.BLACKLISTED
    return ProxyStatus.FLAGGED if share < FLAG_BELOW else ProxyStatus.HEALTHY


def add_outcome(recent: str, at_ms: int, success: bool) -> str:
    """The window with one more outcome: JSON `[[slot, successes, failures], …]`, oldest first, at most SLOTS slots."""
    slots = orjson.loads(recent)
    slot = at_ms // SLOT_MS
    if not slots or slots[-1][0] < slot:
        slots.append([slot, 0, 0])
    slots[-1][1 if success else 2] += 1
    return orjson.dumps([entry for entry in slots if entry[0] > slots[-1][0] - SLOTS]).decode()


def window(recent: str, moment: datetime) -> tuple[int, int]:
    """(successes, failures) of the last hour."""
    oldest = to_ms(moment) // SLOT_MS - SLOTS
    slots = [entry for entry in orjson.loads(recent) if entry[0] > oldest]
    return sum(entry[1] for entry in slots), sum(entry[2] for entry in slots)


def add_latency(latencies: str, at_ms: int, latency_ms: float) -> str:
    """The latencies with one more: JSON `[[hour, count, sum in ms], …]`, oldest first, at most HOURS hours."""
    hours = orjson.loads(latencies)
    hour = at_ms // HOUR_MS
    if not hours or hours[-1][0] < hour:
        hours.append([hour, 0, 0.0])
    hours[-1][1] += 1
    hours[-1][2] = round(hours[-1][2] + latency_ms, 3)
    return orjson.dumps([entry for entry in hours if entry[0] > hours[-1][0] - HOURS]).decode()


def hourly_latency(latencies: str, moment: datetime) -> list[float | None]:
    """The mean latency in ms of each of the last 24 hours, oldest first; None where nothing was measured."""
    known = {entry[0]: entry[2] / entry[1] for entry in orjson.loads(latencies) if entry[1]}
    newest = to_ms(moment) // HOUR_MS
    return [known.get(hour) for hour in range(newest - HOURS + 1, newest + 1)]


@dataclass
class Streak:
    """What a proxy's row says of its run of luck; `ended` changes it."""

    failures_in_row: int
    good_in_row: int
    offences: int
    cooldown_until: datetime | None

    def ended(self, success: bool, moment: datetime) -> None:
        """One more session has ended."""
        if success:
            self.failures_in_row, self.good_in_row = 0, self.good_in_row + 1
            if self.good_in_row >= FORGIVE_AFTER:
                self.good_in_row, self.offences = 0, max(0, self.offences - 1)
            return
        self.good_in_row, self.failures_in_row = 0, self.failures_in_row + 1
        resting = self.cooldown_until is not None and self.cooldown_until > moment
        if self.failures_in_row >= STREAK and not resting:
            self.cooldown_until = moment + min(MAX_COOLDOWN, COOLDOWN * 2 ** min(self.offences, 10))
            self.offences, self.failures_in_row = self.offences + 1, 0


def reason(proxy: Any, moment: datetime) -> str:
    """Why its status is what it is, for a person."""
    if not proxy.enabled:
        return f"Disabled by {proxy.disabled_by}" if proxy.disabled_by else "Disabled"
    said = []
    if proxy.cooldown_until is not None and proxy.cooldown_until > moment:
        times = "" if proxy.offences < 2 else f", for the {_ordinal(proxy.offences)} time"
        said.append(f"Rests after {STREAK} failures in a row{times}")
    ended = proxy.successes + proxy.failures
    if not ended:
        said.append("No session has ended yet" if proxy.uses else "Not used yet")
    else:
        share = rate(proxy.successes, proxy.failures)
        limit = ", below 50 %" if share < BLACKLIST_BELOW else ", below 80 %" if share < FLAG_BELOW else ""
        said.append(f"{percent(proxy.successes, ended)} % of {_sessions(ended)} succeeded{limit}")
        good, bad = window(proxy.recent, moment)
        if good + bad and abs(rate(good, bad) - share) >= 0.1:
            said.append(f"in the last hour {percent(good, good + bad)} % of {good + bad:,}")
    if proxy.check_ok is False:
        said.append(f"the last check failed: {proxy.check_error}" if proxy.check_error else "the last check failed")
    return "; ".join(said)


def percent(part: int, whole: int) -> int:
    """Whole percent, rounded down: what is below a limit is never shown as having reached it, nor 100 with a failure in it."""
    return 100 * part // whole


def _sessions(number: int) -> str:
    return "1 session" if number == 1 else f"{number:,} sessions"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return {2: "second", 3: "third"}.get(number, f"{number}{ending}")
