"""Which identifiers the events of each destination carry, day by day, and what their absence costs."""
