"""Families of distributions: facts, supports, parameters, densities and draws."""
