"""Server processes: the command line, one server, and several workers under a supervisor."""
