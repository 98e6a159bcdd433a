//! A small in-memory Kubernetes API over HTTP, for the demo and for tests
