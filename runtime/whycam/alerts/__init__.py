"""Alerts: from decisions to episodes, and what is kept of them until the broker has them."""
