"""Rules run over the past of a state, as the evaluation would have done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.alerts.book import FLAP_HOLD_S, FLAP_WINDOW, MAX_HOLD_S
from app.alerts.models import AlertStatus, Severity
from app.alerts.rules import Rule, State, Verdict, deadline, decide, severity_at, step

MOST = 200
Change = tuple[int, float]  # since when (ms), value


@dataclass
class Past:
    """What a subject was like: its values, oldest first, each until the next one, the last until `end` (ms). `id` None: it is
    gone."""

    id: str | None
    name: str
    changes: list[Change]
    end: int


def evenly(rows: Sequence[Any], most: int = MOST) -> Sequence[Any]:
    """At most so many of them, spread evenly."""
    return rows[:: -(-len(rows) // most)] if rows else []


def hold_after(rule: Rule, state: State, at: int, resolved: int | None) -> int:
    """The evaluation's damping (`Book`): what fires again soon must be well for longer."""
    if resolved is None or at - resolved >= FLAP_WINDOW.total_seconds() * 1000:
        return rule.hold_ms
    return min(MAX_HOLD_S * 1000, max(rule.hold_ms, FLAP_HOLD_S * 1000, 2 * state.hold_ms))


def replay(rule: Rule, past: Past) -> list[int]:
    """When the rule would have fired (ms)."""
    state, fired, resolved = State(hold_ms=rule.hold_ms), [], None
    for (at, value), (following, _) in zip(past.changes, [*past.changes[1:], (past.end + 1, 0.0)], strict=True):
        step(rule, state, at, value)
        moment: int | None = at
        while moment is not None and moment < following:
            verdict = decide(rule, state, moment)
            if verdict is Verdict.FIRE:
                fired.append(moment)
                state = State(
                    AlertStatus.ACTIVE, severity_at(rule, state, moment), hold_ms=hold_after(rule, state, moment, resolved)
                )
            elif verdict is Verdict.RESOLVE:
                resolved, state = moment, State(hold_ms=state.hold_ms)
            elif verdict in (Verdict.ESCALATE, Verdict.DEESCALATE):
                state.severity = Severity.CRITICAL if verdict is Verdict.ESCALATE else Severity.WARNING
                state.shift_since = None
            due = deadline(rule, state, sampled=False)
            moment = due if due is not None and due > moment else None
    return fired
