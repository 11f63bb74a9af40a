"""Many runs of one spec: the cells of a sweep, their runs in processes of their own, and a table of what they reach."""
