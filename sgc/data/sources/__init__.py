"""Sources of data: what stands under `data` in a spec, and which reader it asks. numpy comes in as it reads."""
