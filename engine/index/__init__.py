"""The index as arithmetic: centroids, partitions, codecs and scans on numpy arrays."""
