"""Tests of every refusal: its type, what it says, and that it changed nothing."""
