"""Metrics: the histogram of our own reads like the library's."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as LibraryHistogram

from bridge.telemetry.metrics import Histogram

_BUCKETS = (0.001, 0.25, 1.0, 600.0)


def test_the_histogram_is_written_as_the_library_writes_it() -> None:
    """The same values give the same text: a value on a bound belongs to its bucket."""
    own, library = CollectorRegistry(), CollectorRegistry()
    histograms = (
        Histogram("age_seconds", "Age.", buckets=_BUCKETS, registry=own),
        LibraryHistogram("age_seconds", "Age.", buckets=_BUCKETS, registry=library),
    )
    for value in (0.0, 0.001, 0.0011, 0.5, 1.0, 599.0, 601.0):
        for histogram in histograms:
            histogram.observe(value)
    expected = [line for line in generate_latest(library).splitlines() if b"_created" not in line]
    assert generate_latest(own).splitlines() == expected
