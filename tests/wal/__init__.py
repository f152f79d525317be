"""Tests of the file: opening, recovery, log, rows, readers, checkpoints, formats."""
