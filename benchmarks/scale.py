"""How much is measured: the whole, a quick look, and next to nothing for the test of the harness itself."""

from msgspec import Struct


class Scale(Struct, frozen=True, kw_only=True):
    """Sizes and times of all scenarios."""

    clients: tuple[tuple[int, int], ...]
    """Of the fan-out: number, and events a second when paced."""
    rooms: int
    """Of the unicast."""
    unicast_rate: int
    """Events a second when paced."""
    scale_clients: tuple[int, ...]
    """For the plot: cost against the number of clients ..."""
    scale_rooms: tuple[int, ...]
    """... and of rooms with one client each."""
    idle: int
    commanders: int
    slow_clients: int
    slow_rate: int
    slow_seconds: float
    """How long a client that does not read is watched, unless it is cut before."""
    logged: int
    """Events that lie in the log before a start."""
    seconds: float
    """Of each other measurement."""
    repeat: int


FULL = Scale(
    clients=((100, 1600), (1000, 100), (5000, 15)),
    rooms=1000,
    unicast_rate=1000,
    scale_clients=(100, 300, 1000, 3000, 10_000),
    scale_rooms=(100, 300, 1000, 3000, 10_000),
    idle=10_000,
    commanders=64,
    slow_clients=20,
    slow_rate=1600,
    slow_seconds=60,
    logged=200_000,
    seconds=6,
    repeat=3,
)
QUICK = Scale(
    clients=((100, 1600), (1000, 100)),
    rooms=1000,
    unicast_rate=1000,
    scale_clients=(100, 1000),
    scale_rooms=(100, 1000),
    idle=2000,
    commanders=64,
    slow_clients=20,
    slow_rate=1600,
    slow_seconds=20,
    logged=40_000,
    seconds=2,
    repeat=1,
)
TINY = Scale(
    clients=((10, 100),),
    rooms=10,
    unicast_rate=100,
    scale_clients=(10,),
    scale_rooms=(10,),
    idle=10,
    commanders=16,
    slow_clients=3,
    slow_rate=200,
    slow_seconds=1,
    logged=200,
    seconds=0.3,
    repeat=1,
)
SCALES = {"full": FULL, "quick": QUICK, "tiny": TINY}
