"""Pictures for people: annotated films, timelines, and the windows that explain a decision."""
