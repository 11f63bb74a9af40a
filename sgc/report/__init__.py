"""What a person sees: reports, pictures, schemas, starting specs, progress. Nothing here imports torch."""
