"""Other databases under the same load, each in a process and a virtual environment apart.

    python -m tests.bench.rebuild.peers.pgvector DRIFT.npz IDLE_SECONDS

prints the figures as JSON on its last line.
"""
