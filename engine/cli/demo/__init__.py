"""The demo: real places, an index that drifts and is rebuilt online, and a crash."""

from .tour import run as run
