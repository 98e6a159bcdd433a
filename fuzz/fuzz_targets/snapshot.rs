//! A snapshot: plain, gzip or snappy, by the input's first byte.
#![no_main]

use std::io::BufReader;

use libfuzzer_sys::fuzz_target;
use zk_wire::snap_stream::SnapshotCompression;
use zk_wire::snapshot::SnapshotReader;
use zoobridge_fuzz::{LIMIT, within};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, file)) = bytes.split_first() else { return };
    let compression = SnapshotCompression::ALL[usize::from(*kind) % SnapshotCompression::ALL.len()];
    // Compressed, few bytes may stand for many: then the limits are those of an item and of a block.
    let constant = match compression {
        SnapshotCompression::Plain => 64 << 10,
        _ => 3 * LIMIT + 2 * (4 << 20) + (1 << 20),
    };
    within(file, 16, constant, || {
        let mut reader = SnapshotReader::new(BufReader::new(compression.reader(file)), LIMIT);
        while let Ok(Some(_)) = reader.next_item() {}
    });
});
