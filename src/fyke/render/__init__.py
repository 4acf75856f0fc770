"""Events as text. Made from batches: a distinct value is formatted once, then looked up for every event."""
