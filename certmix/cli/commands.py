"""Every command, in the order that --help lists them."""
