"""The metrics of several processes on one page: each sample with the number of its process."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

LABEL: Final = "worker"
UP: Final = "bridged_worker_up"
"""Known to each process, and counted on the common page alone."""


class Family(Struct, frozen=True, array_like=True):
    """One metric with its samples: name, labels, value."""

    name: str
    documentation: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


_FAMILIES: Final = msgspec.msgpack.Decoder(list[Family])


def encode_families(registry: CollectorRegistry) -> bytes:
    """All metrics of this process, for another one."""
    families = [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            [(sample.name, sample.labels, sample.value) for sample in metric.samples],
        )
        for metric in registry.collect()
    ]
    return msgspec.msgpack.encode(families)


def render_together(encoded: Mapping[int, bytes | None]) -> bytes:
    """The page of all processes by number, in the Prometheus text format; None of one that is away."""
    return generate_latest(_Together(encoded))


class _Together(Collector):
    def __init__(self, encoded: Mapping[int, bytes | None]) -> None:
        self._encoded = encoded

    def collect(self) -> Iterator[Metric]:
        together: dict[str, Metric] = {}
        for number, families in self._encoded.items():
            label = {LABEL: str(number)}
            for family in _FAMILIES.decode(families) if families is not None else ():
                metric = together.get(family.name)
                if metric is None:
                    metric = Metric(family.name, family.documentation, family.kind)
                    together[family.name] = metric
                for name, labels, value in family.samples:
                    metric.add_sample(name, {**labels, **label}, value)
        for number, families in self._encoded.items():
            together[UP].add_sample(UP, {LABEL: str(number)}, float(families is not None))
        yield from together.values()
