"""Tests of snapshots, visibility, commit groups and conflicts."""
