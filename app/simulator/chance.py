"""Chance that can be repeated: numbers and smooth noise that depend only on what is asked for, in every process alike."""

_MASK = (1 << 64) - 1


def bits(*parts: int) -> int:
    """64 well-mixed bits for these whole numbers (SplitMix64's finaliser over each)."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = (state ^ (part & _MASK)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def unit(*parts: int) -> float:
    """A number in [0, 1) for these whole numbers."""
    return (bits(*parts) >> 11) / (1 << 53)


def noise(key: int, at: float, period: float) -> float:
    """Smooth noise in [-1, 1] at a time in seconds: a random value every `period` seconds, eased in between."""
    slot, rest = divmod(at / period, 1.0)
    before, after = unit(key, int(slot)), unit(key, int(slot) + 1)
    eased = rest * rest * (3 - 2 * rest)
    return 2 * (before + (after - before) * eased) - 1
