"""The options of MetaDrive; what drives it is beside the world that ships, in `simulation/`."""
