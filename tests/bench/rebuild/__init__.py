"""The bench of online rebuilds. `make bench-rebuild` runs it.

python -m tests.bench.rebuild drift|early|epochs|backpressure [--scale 0.1]

drift         a rebuild after the data moved, with and without load, beside others' rebuilds
early         an index made on few rows, grown, and rebuilt
epochs        many small changes, under several policies of maintenance
backpressure  a rebuild beside writers of several rates
"""
