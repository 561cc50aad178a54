"""The durable queue of deliveries: its port, and one package per engine."""
