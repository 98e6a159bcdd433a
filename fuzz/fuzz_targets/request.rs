//! A client's frames: the first message, and requests of every operation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_wire::connect::ConnectRequest;
use zk_wire::jute::{Jute, Reader};
use zk_wire::request::{Request, RequestHeader};
use zoobridge_fuzz::{LIMIT, within};

fuzz_target!(|bytes: &[u8]| {
    // The largest thing per byte is an op of a multi, of some 150 bytes for each of its own 9.
    within(bytes, 64, 64 << 10, || {
        let _ = Reader::with_limit(bytes, LIMIT).read::<ConnectRequest>();
        let mut reader = Reader::with_limit(bytes, LIMIT);
        let Ok(header) = reader.read::<RequestHeader>() else { return };
        let Ok(request) = Request::decode(header.op, &mut reader) else { return };
        // What was understood is written so that it is understood to be the same.
        let mut written = Vec::new();
        request.encode(header.xid, &mut written);
        let mut reader = Reader::with_limit(&written, LIMIT);
        let header = reader.read::<RequestHeader>().expect("it was just written");
        let again = Request::decode(header.op, &mut reader).expect("it was just written");
        assert_eq!((again, written.len()), (request, reader.offset()));
        assert_eq!(header.to_bytes(), written[..8]);
    });
});
