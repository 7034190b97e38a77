"""Reads lists of bindings, which AMQP itself does not give: of `rabbitmqctl`, or of the management plugin."""

from collections.abc import Iterator
from typing import Final

from msgspec import DecodeError, Struct, json

from bridge.cli.exits import CliError, Exit


class Binding(Struct, frozen=True, kw_only=True, order=True):
    """What a queue or stream receives: the messages of an exchange that match a key."""

    queue: str
    exchange: str
    key: str
    has_arguments: bool = False
    """Whether it is told apart by more than that; the bridge makes no such binding."""


class _Listed(Struct, kw_only=True):
    """One entry: the first names are those of `rabbitmqctl`, the others those of the management plugin."""

    source_name: str | None = None
    source: str | None = None
    destination_name: str | None = None
    destination: str | None = None
    destination_kind: str | None = None
    destination_type: str | None = None
    routing_key: str | None = None
    arguments: list[object] | dict[str, object] | None = None
    vhost: str | None = None


_decode: Final = json.Decoder(list[_Listed]).decode


def parse_bindings(text: bytes, vhost: str, hint: str) -> list[Binding]:
    """The bindings between an exchange and a queue of one virtual host, in the list's order.

    CliError, with `hint`, when the text is no such list.
    """
    try:
        return list(_convert(_decode(text), vhost))
    except (DecodeError, UnicodeDecodeError) as error:
        raise CliError(Exit.USAGE, f"this is no list of bindings in JSON: {error}", hint) from error


def _convert(listed: list[_Listed], vhost: str) -> Iterator[Binding]:
    for entry in listed:
        exchange = entry.source_name if entry.source is None else entry.source
        queue = entry.destination_name if entry.destination is None else entry.destination
        if exchange is None or queue is None or entry.routing_key is None:
            raise DecodeError("an entry lacks its source, its destination or its routing key")
        kind = entry.destination_kind or entry.destination_type or "queue"
        if kind == "queue" and exchange and entry.vhost in (None, vhost):
            yield Binding(
                queue=queue, exchange=exchange, key=entry.routing_key, has_arguments=bool(entry.arguments)
            )
