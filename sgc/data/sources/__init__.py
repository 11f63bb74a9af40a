"""Sources of data: the `data` section of a spec, and its readers. numpy is imported only to read."""
