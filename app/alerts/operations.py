"""What can be done with alerts. What they tell the journal is in docs/alerts.md."""

CLOCK = "alerts"
