"""The explorer: a page of this machine on which the nodes of a trained model are turned, and what follows is seen."""
