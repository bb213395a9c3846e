"""The story that `make demo` tells: one model's life, on the local platform, through Pilotage's public doors only."""
