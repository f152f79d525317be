"""Tests of the demo's own arithmetic: its places, its truth, its costs."""
