"""Fixtures of the Socket.IO edge: a running server with an echo gateway, and JavaScript clients."""

from collections.abc import AsyncIterator

import pytest

from tests.support.echo_gateway import Running, serve
from tests.support.js_client import JsClients


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A server with everything at its default."""
    async with serve() as running:
        yield running


@pytest.fixture
async def js() -> AsyncIterator[JsClients]:
    """A Node process with the official client."""
    async with JsClients() as js:
        yield js
