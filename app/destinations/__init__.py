"""The platforms: one sans-IO module each, found by `app.destinations.registry`."""
