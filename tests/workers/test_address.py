"""The address that a parent holds for its workers."""

import errno
import socket

import pytest

from bridge.workers.address import hold_address


def test_workers_may_listen_beside_the_parent_and_others_may_not() -> None:
    """It takes a port that is free when 0 is asked for, and lets go of it at the end."""
    with hold_address("127.0.0.1", 0) as port:
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(("127.0.0.1", port))
            worker.listen()
            with pytest.raises(OSError, match="in use"), socket.socket() as other:
                other.bind(("127.0.0.1", port))
            with pytest.raises(OSError, match="in use") as raised, hold_address("127.0.0.1", port):
                pass
            assert raised.value.errno == errno.EADDRINUSE
        with socket.create_server(("127.0.0.1", 0)) as free:
            assert free.getsockname()[1] != port
    with hold_address("127.0.0.1", port) as again:
        assert again == port


def test_nobody_is_connected_to_the_parent() -> None:
    """It does not listen: the kernel gives it no connection that it would never answer."""
    with (
        hold_address("127.0.0.1", 0) as port,
        socket.socket() as client,
        pytest.raises(ConnectionRefusedError),
    ):
        client.connect(("127.0.0.1", port))


@pytest.mark.parametrize("host", ["", "127.0.0.2", "::1", "localhost"])
def test_a_host_may_stand_for_several_addresses(host: str) -> None:
    """All of them get the same port."""
    with hold_address(host, 0) as port:
        assert port > 0


def test_an_address_of_another_machine_cannot_be_had() -> None:
    """With the error that `bridged run` explains."""
    with pytest.raises(OSError, match="assign") as raised, hold_address("192.0.2.1", 0):
        pass
    assert raised.value.errno == errno.EADDRNOTAVAIL
