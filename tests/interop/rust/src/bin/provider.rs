//! A provider of a Dubbo service that is small enough for hundreds of pods on one machine.
//!
//! ```text
//! provider PORT READY-PORT
//! ```
//!
//! Answers each call with the address at which it was called, and whoever connects to the second port with nothing. It
//! registers itself nowhere. What it speaks is Dubbo's protocol with Hessian 2, as far as consumers need it that call
//! methods which return a string (`ExchangeCodec`, `DubboCodec`).

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, bail, ensure};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, ready] = arguments.as_slice() else {
        bail!("usage: provider PORT READY-PORT");
    };
    let calls = listen(port)?;
    let ready = listen(ready)?;
    thread::spawn(move || ready.incoming().for_each(drop));
    for stream in calls.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            if let Err(error) = serve(stream) {
                eprintln!("a connection failed: {error:#}");
            }
        });
    }
    Ok(())
}

fn listen(port: &str) -> anyhow::Result<TcpListener> {
    let port = port.parse().with_context(|| format!("{port:?} is no port"))?;
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?)
}

/// Two bytes that begin each message.
const MAGIC: [u8; 2] = [0xda, 0xbb];
const REQUEST: u8 = 0x80;
const WANTS_ANSWER: u8 = 0x40;
/// A heartbeat, or a word about the connection.
const EVENT: u8 = 0x20;
const SERIALIZATION: u8 = 0x1f;
const HESSIAN_2: u8 = 2;
const OK: u8 = 20;
/// No call here is longer.
const MAX_BODY: usize = 1 << 20;

/// Answers until the consumer goes.
fn serve(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let address = stream.local_addr()?.ip().to_string();
    let mut body = Vec::new();
    loop {
        let mut header = [0; 16];
        match stream.read_exact(&mut header) {
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return Ok(());
            }
            read => read?,
        }
        ensure!(header[..2] == MAGIC, "no message of Dubbo's: {header:02x?}");
        let flags = header[2];
        let length = u32::from_be_bytes([header[12], header[13], header[14], header[15]]) as usize;
        ensure!(length <= MAX_BODY, "a message of {length} bytes");
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
        if flags & REQUEST == 0 || flags & WANTS_ANSWER == 0 {
            continue;
        }
        ensure!(flags & SERIALIZATION == HESSIAN_2, "serialization {}", flags & SERIALIZATION);
        let answer = if flags & EVENT == 0 { value(&address) } else { vec![b'N'] };
        let mut message = vec![MAGIC[0], MAGIC[1], flags & EVENT | HESSIAN_2, OK];
        message.extend_from_slice(&header[4..12]);
        message.extend_from_slice(&u32::try_from(answer.len())?.to_be_bytes());
        message.extend_from_slice(&answer);
        stream.write_all(&message)?;
    }
}

/// A result: the number 1, which says that a value follows, and a string, whose length is one byte below 32.
fn value(address: &str) -> Vec<u8> {
    // An IPv4 address has 15 characters at most.
    let mut value = vec![0x91, address.len() as u8];
    value.extend_from_slice(address.as_bytes());
    value
}
