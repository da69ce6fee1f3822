"""Methods side by side over seeds: what is compared, how it is run, how sure the numbers are."""
