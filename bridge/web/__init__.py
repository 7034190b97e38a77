"""What is served over HTTP besides Socket.IO: probes, metrics, statistics, the client page; and the port."""
