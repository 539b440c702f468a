"""One file per stage: resolve the key, look in the store, compute, write, report."""
