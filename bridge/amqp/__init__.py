"""The RabbitMQ edge: reads events in order, publishes with confirms, declares what the bridge needs."""
