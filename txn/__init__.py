"""Transactions: snapshots, visibility, conflicts, commit groups, and the horizon."""
