"""What authors of storages and users need for their own tests: strategies, a manual clock, faults, conformance."""
