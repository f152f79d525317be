"""The bench: CentroiDB and others, on real and synthetic rows. `make bench` runs it.

run          the command                      sets, data, mixture    the rows
contest      all systems on a set, in turn    systems, peers/        who is measured
asked        a system's process, from here    child, threads, tasks  how, in that process
figures      values and ratios by round       standings_tables, curves, targets

changes      CentroiDB alone while a fifth of its rows are replaced
rebuild/     the bench of online rebuilds
"""
