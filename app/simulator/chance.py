"""Chance that can be repeated: numbers and smooth noise that depend only on what is asked for, in every process alike."""

from collections.abc import Sequence
from math import cos, exp, log, pi, sqrt
from typing import TypeVar

T = TypeVar("T")
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


class Dice:
    """A stream of chance for one subject: the same whole numbers give the same throws (SplitMix64), on every Python."""

    def __init__(self, *parts: int) -> None:
        self._state = bits(*parts)

    def unit(self) -> float:
        """A number in [0, 1)."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        return ((state ^ state >> 31) >> 11) / (1 << 53)

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.unit()

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int((high - low + 1) * self.unit())

    def happens(self, share: float) -> bool:
        """Whether something with this probability (0–1) happens."""
        return self.unit() < share

    def pick(self, options: Sequence[T]) -> T:
        """One of them."""
        return options[int(len(options) * self.unit())]

    def weighted(self, options: Sequence[tuple[T, int]]) -> T:
        """One of them, each as often as its weight says."""
        left = self.unit() * sum(weight for _, weight in options)
        for option, weight in options:
            left -= weight
            if left < 0:
                return option
        return options[-1][0]

    def waiting(self, mean: float) -> float:
        """How long until something happens that happens every `mean` on average, whatever went before."""
        return -mean * log(1.0 - self.unit())

    def spread(self, middle: float, width: float) -> float:
        """A positive number around `middle` (log-normal): two thirds lie within a factor of e^width."""
        return middle * exp(width * sqrt(-2 * log(1.0 - self.unit())) * cos(2 * pi * self.unit()))
