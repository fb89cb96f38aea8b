"""The columns of the CSV files of sessions and events (contract 003, "GET /api/sessions/export", "GET /api/events/export")."""

from app.sessions.models import BotSession, Event
from app.web.export import Cell, Export, Kind

EVENT_EXPORT = Export(
    "events",
    Event.id,
    (
        Cell("id", Event.id, Kind.INTEGER),
        Cell("session_id", Event.session_id, Kind.TEXT),
        Cell("event_type", Event.event_type, Kind.WORD),
        Cell("timestamp", Event.at, Kind.TIME),
        Cell("data", Event.details, Kind.JSON),
    ),
)
# Exactly the columns of the contract, in its order.
SESSION_EXPORT = Export(
    "sessions",
    BotSession.id,
    (
        Cell("session_id", BotSession.session_id, Kind.TEXT),
        Cell("profile_id", BotSession.profile_id, Kind.TEXT),
        Cell("device", BotSession.device, Kind.TEXT),
        Cell("start_time", BotSession.started_at, Kind.TIME),
        Cell("proxy", BotSession.proxy, Kind.TEXT),
        Cell("country", BotSession.country, Kind.TEXT),
        Cell("status", BotSession.status, Kind.WORD),
        Cell("duration", BotSession.duration_us, Kind.SECONDS),
        Cell("success", BotSession.success, Kind.BOOLEAN),
    ),
)
SESSION_PAGE_EXPORT = Export(
    "sessions",
    BotSession.id,
    (
        *SESSION_EXPORT.columns,
        Cell("target_url", BotSession.target_url, Kind.TEXT),
        Cell("end_time", BotSession.ended_at, Kind.TIME),
        Cell("error", BotSession.error, Kind.TEXT),
    ),
)
