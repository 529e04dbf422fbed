"""The running machine: coordinator, guard, the live event loop and the simulator."""
