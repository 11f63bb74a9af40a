"""What is maximised: bounds, each one file, as expressions over the factors of a plan."""
