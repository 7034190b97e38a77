"""The Socket.IO edge: Engine.IO 4 and Socket.IO 5 over aiohttp; it knows nothing of users or rules."""
