"""REBUILD ONLINE: the Rebuilder and the phases of a build."""
