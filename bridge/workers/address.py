"""The address that all workers listen on, held by their parent: found in use before any of them starts."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def hold_address(host: str, port: int) -> Iterator[int]:
    """Hold the address without listening, so that nobody else takes it while a worker is away.

    Gives the port, which is another one when 0 is asked for. Raises OSError when it cannot be had: workers
    alone would not find out, since `SO_REUSEPORT` lets a second daemon listen beside the first.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with ExitStack() as stack:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            with _make_socket(family, kind, protocol) as probe:
                probe.bind((address[0], port, *address[2:]))
                port = probe.getsockname()[1]
            held = stack.enter_context(_make_socket(family, kind, protocol))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((address[0], port, *address[2:]))
        yield port


def _make_socket(family: int, kind: int, protocol: int) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
