"""`convey doctor`: asks the configuration, the gateway and the platforms, and tells what was found."""
