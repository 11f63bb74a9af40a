"""The spec language: text -> a valid spec and its outline, or every fault of it. Nothing here imports torch."""
