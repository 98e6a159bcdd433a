//! One ZooKeeper session that its owner can detach, hand over and resume
