//! A transaction log from its first byte on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_wire::jute::{Jute, Reader};
use zk_wire::log_record::{FileHeader, RecordReader, write_record};
use zk_wire::txn::LoggedTxn;
use zoobridge_fuzz::{LIMIT, within};

fuzz_target!(|bytes: &[u8]| {
    // The fuzzer cannot guess checksums, so each of its inputs is also an entry with the right one.
    let mut sealed = FileHeader::LOG.to_bytes();
    write_record(bytes, &mut sealed);
    for file in [bytes, &sealed] {
        within(file, 64, 64 << 10, || read(file));
    }
});

fn read(file: &[u8]) {
    let Some((header, records)) = file.split_at_checked(FileHeader::LENGTH) else { return };
    let _ = Reader::new(header).read::<FileHeader>();
    let mut reader = RecordReader::new(records, LIMIT);
    while let Ok(Some(entry)) = reader.next_entry() {
        let mut entry = Reader::with_limit(entry, LIMIT);
        let Ok(txn) = entry.read::<LoggedTxn>() else { return };
        let written = txn.to_bytes();
        let again = Reader::with_limit(&written, LIMIT).read::<LoggedTxn>().expect("it was just written");
        assert_eq!(again, txn);
    }
}
