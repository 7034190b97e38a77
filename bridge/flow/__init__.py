"""The two trips: deliveries to clients, and clients' commands to the broker."""
