"""Delivering: one lane per destination, claim -> build -> send -> read -> settle."""
