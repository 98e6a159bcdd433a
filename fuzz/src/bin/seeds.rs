//! Writes what the fuzzer begins with: files that Apache's servers wrote, and a request of each operation.
//!
//! ```text
//! seeds VECTORS CORPUS      CORPUS/request, CORPUS/log, CORPUS/snapshot
//! ```

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, OpCode};
use zk_wire::connect::{ConnectRequest, ConnectRequestBody};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::{Jute, Reader};
use zk_wire::log_record::{FileHeader, RecordReader};
use zk_wire::multi::WriteOp;
use zk_wire::request::{AuthPacket, CreateRequest, Request, SetWatches};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(vectors), Some(corpus)) = (args.next(), args.next()) else {
        return Err("seeds VECTORS CORPUS".into());
    };
    for target in ["request", "log", "snapshot"] {
        fs::create_dir_all(corpus.join(target))?;
    }
    let mut count = 0;
    files(&vectors, &mut |path| {
        let (name, content) = (path.file_name().unwrap_or_default().to_string_lossy(), fs::read(path)?);
        count += 1;
        if name.starts_with("log.") {
            log(&content, &corpus.join("log"), count)?;
        } else if name.starts_with("snapshot.") {
            let kind = if name.ends_with(".gz") { 1 } else { u8::from(name.ends_with(".snappy")) * 2 };
            fs::write(
                corpus.join("snapshot").join(count.to_string()),
                [&[kind], content.as_slice()].concat(),
            )?;
        }
        Ok(())
    })?;
    for (n, request) in requests().into_iter().enumerate() {
        fs::write(corpus.join("request").join(n.to_string()), request)?;
    }
    Ok(())
}

fn files(
    dir: &Path,
    visit: &mut dyn FnMut(&Path) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { files(&path, visit)? } else { visit(&path)? }
    }
    Ok(())
}

/// The file without its padding, and each of its entries.
fn log(content: &[u8], to: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    let mut reader = RecordReader::new(&content[FileHeader::LENGTH..], 1 << 20);
    let mut n = 0;
    while let Some(entry) = reader.next_entry()? {
        fs::write(to.join(format!("{count}-{n}")), entry)?;
        n += 1;
    }
    fs::write(to.join(count.to_string()), &content[..usize::try_from(reader.offset())?])?;
    Ok(())
}

/// One of each operation whose record decodes from paths, zeros and small numbers, and some by hand.
fn requests() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let body = ConnectRequestBody {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 10_000,
        session_id: SessionId::NONE,
        password: Some(vec![0; 16].into()),
    };
    found.push(ConnectRequest { body, read_only: Some(false) }.to_bytes());
    let create = CreateRequest {
        path: "/a".to_owned(),
        data: Some(b"data".as_slice().into()),
        acl: Acl::open(),
        mode: CreateMode::Persistent,
    };
    let by_hand = [
        Request::Create(create.clone()),
        Request::Multi(vec![WriteOp::Create(create)]),
        Request::Auth(AuthPacket {
            kind: 0,
            scheme: "digest".to_owned(),
            auth: Some(b"a:b".as_slice().into()),
        }),
        Request::SetWatches(SetWatches {
            relative_zxid: Zxid(1),
            data: vec!["/a".to_owned()],
            exist: vec!["/b".to_owned()],
            child: vec![],
        }),
    ];
    for request in by_hand {
        let mut out = Vec::new();
        request.encode(1, &mut out);
        found.push(out);
    }
    let generic = ["/a".to_owned().to_bytes(), vec![0; 64]].concat();
    for number in -11..=120 {
        let mut reader = Reader::new(&generic);
        if let Ok(request) = Request::decode(OpCode(number), &mut reader) {
            let mut out = Vec::new();
            request.encode(1, &mut out);
            found.push(out);
        }
    }
    found
}
