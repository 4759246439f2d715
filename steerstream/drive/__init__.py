"""`steerstream drive`: stream recorded or live pictures to a server and watch it."""
