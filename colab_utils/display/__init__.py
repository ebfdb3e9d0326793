"""Figures and players that notebooks share; the page of all results."""
