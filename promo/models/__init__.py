"""Models that learn page by page: pure code, no I/O, no threads, no widgets."""
