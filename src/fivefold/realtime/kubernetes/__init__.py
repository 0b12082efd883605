"""A project's endpoints on Kubernetes: manifests that are written, and never applied, from here."""
