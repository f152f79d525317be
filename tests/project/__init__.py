"""Tests of the project itself: its layout, its style, its wheel."""
