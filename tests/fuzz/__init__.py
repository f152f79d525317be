"""Tests of the fuzzers."""
