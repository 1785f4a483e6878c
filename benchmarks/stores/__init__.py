"""The stores that are measured: one file each, all with the same few calls."""
