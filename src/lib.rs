//! A two-way service-discovery bridge between Kubernetes and ZooKeeper.
