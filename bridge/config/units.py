"""Quantities as people write them in YAML: `10m`, `1MB`, `10/s`."""

import re
from typing import Final

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)(B|kB|MB|GB|TB)")
_BYTES: Final = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_RATE: Final = re.compile(r"(\d+)/(s|min|h)")
_PERIOD: Final = {"s": 1.0, "min": 60.0, "h": 3600.0}


class Duration(float):
    """A length of time in seconds, written `250ms`, `10s`, `5m`, `2h` or `1d`."""

    def __new__(cls, text: str) -> "Duration":
        match = _DURATION.fullmatch(text)
        if match is None:
            raise ValueError(f'"{text}" is no duration (write 250ms, 10s, 5m, 2h or 1d)')
        return super().__new__(cls, float(match[1]) * _SECONDS[match[2]])


class Size(int):
    """A number of bytes, written `500B`, `64kB`, `1MB` (1,000,000 bytes) or `2GB`."""

    def __new__(cls, text: str) -> "Size":
        match = _SIZE.fullmatch(text)
        if match is None:
            raise ValueError(f'"{text}" is no size (write 500B, 64kB, 1MB or 2GB; 1MB is 1,000,000 bytes)')
        return super().__new__(cls, round(float(match[1]) * _BYTES[match[2]]))


class Rate:
    """At most `count` in any `period` of seconds, written `10/s`, `100/min` or `1000/h`."""

    __slots__ = ("count", "period")

    def __init__(self, text: str) -> None:
        match = _RATE.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= 10_000:
            raise ValueError(f'"{text}" is no rate (write 10/s, 100/min or 1000/h, from 1 to 10000)')
        self.count = int(match[1])
        self.period = _PERIOD[match[2]]

    def __repr__(self) -> str:
        return f"Rate({self.count} per {self.period:g} s)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rate) and (self.count, self.period) == (other.count, other.period)

    def __hash__(self) -> int:
        return hash((self.count, self.period))
