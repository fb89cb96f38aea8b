"""Deliveries: the outbox for everything that is told to receivers outside. One row for each (journal entry, receiver), made by
following the journal; the worker's courier sends it until it is acknowledged or given up. `webhooks` and `notifications` say who
the receivers are, what they are told and how; they register as a `Carrier`."""

from app.web.routing import Room

bp = Room("deliveries", __name__)
