"""MetaDrive behind the closed loop; in a separate environment, see docs/simulators/metadrive.md."""
