"""Strategies side by side on the user's own statements."""
