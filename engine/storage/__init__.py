"""An index between the file and memory: loaded, read in blocks, searched, folded."""
