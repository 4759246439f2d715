"""The report on the bundles: what is measured of each, and the page that says so."""
