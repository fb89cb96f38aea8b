"""The Retry-After header."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(days=30)


def retry_after(value: str | None, moment: datetime) -> float | None:
    """Seconds from a Retry-After header, given as seconds or as a date (RFC 9110, 10.2.3); None when it says nothing usable."""
    if not value:
        return None
    if value.isascii() and value.strip().isdigit():
        return float(min(int(value.strip()[:12]), int(LONGEST.total_seconds())))
    try:
        when = parsedate_to_datetime(value.strip())
    except (TypeError, ValueError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, min((when - moment).total_seconds(), LONGEST.total_seconds()))
