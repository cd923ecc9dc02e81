"""The interface under /api/v1: one file a resource, and the document that describes them all."""
