"""A cluster of private RabbitMQ nodes, of which all but the first may be killed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from dev.broker import PrivateBroker


@asynccontextmanager
async def run_cluster(folder: Path, count: int = 3) -> AsyncIterator[Sequence[PrivateBroker]]:
    """So many nodes that have found one another; the first keeps their directory. Takes half a minute."""
    first = PrivateBroker(folder / "0", name="node0")
    nodes = [first]
    nodes += [PrivateBroker(folder / f"{n}", name=f"node{n}", beside=first) for n in range(1, count)]
    try:
        for node in nodes:
            await asyncio.to_thread(node.start)
        for node in nodes[1:]:
            for command in (["stop_app"], ["join_cluster", first.node], ["start_app"]):
                await asyncio.to_thread(node.rabbitmqctl, *command)
        yield nodes
    finally:
        for node in reversed(nodes):
            await asyncio.to_thread(node.kill)
