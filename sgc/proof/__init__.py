"""Proving: a spec's derived objective on a small discrete twin of its graphs, against brute force."""
