"""Tests of the actors: their steps, and what they guard."""
