"""JSON shapes of health."""

from datetime import datetime

from pydantic import ConfigDict

from app.shapes import Answer


class Health(Answer):
    """`GET /api/health`: the union of contracts 001 and 003; `database_path` only when authenticated."""

    model_config = ConfigDict(extra="allow")

    status: str
    version: str
    uptime_seconds: float
    timestamp: datetime
    active_sessions: int
    auth_enabled: bool
    rate_limiting: bool
