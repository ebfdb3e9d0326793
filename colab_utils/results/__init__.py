"""Predictions -> rates -> intervals -> tables and comparisons; run folders."""
