"""MetaDrive behind the closed loop; in an environment of its own, see docs/bridges/metadrive.md."""
