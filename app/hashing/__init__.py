"""Identifiers normalised and hashed as each platform does, click ids kept, leaks found. Pure functions of values."""
