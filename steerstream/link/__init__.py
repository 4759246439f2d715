"""The link between a vehicle and its server: the commands `bench` and `doctor`."""
