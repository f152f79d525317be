"""REORGANIZE: splits and merges of a few partitions, between two rebuilds."""
