"""The bridge between RabbitMQ topic exchanges and Socket.IO clients."""

__version__ = "0.1.0"
