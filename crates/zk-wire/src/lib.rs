//! ZooKeeper's records as plain values: jute, client protocol, transactions, snapshots, digests
