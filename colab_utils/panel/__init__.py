"""Sliders, boxes and buttons made from settings; a method's source on the page."""
