//! A connection for another client, one that knows neither TLS nor SASL: its session is opened and our identities are
//! proven here, and from then on bytes are passed on as they come.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zk_wire::codes::ErrorCode;
use zk_wire::connect::{ConnectRequest, ConnectResponse, ConnectResponseBody};
use zk_wire::ids::SessionId;
use zk_wire::jute::{Jute, Reader};
use zk_wire::reply::ReplyHeader;
use zk_wire::request::{AUTH_XID, AuthPacket, Request};

use crate::driver::{broken, exchange, framed, handshake, next_frame};
use crate::error::{AttachError, Lost};
use crate::sasl;
use crate::session::{Auth, Opening, Options};

/// Passes on what a client and a server say, until one of them closes. Of `options` the identities count, the limits,
/// and not the chroot.
///
/// The client is let in if it asks for a new session of exactly `asked_for`: that can be a number that nobody else
/// knows. Its session has `timeout` instead, and the client does not get the password, so it cannot resume it.
///
/// # Errors
/// The client is not let in, or the server did not open the session or believe who we are.
pub async fn relay<C, S>(
    mut client: C,
    server: S,
    asked_for: Duration,
    timeout: Duration,
    options: &Options,
) -> Result<(), AttachError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(server);
    let opening = async {
        let read_only = greeted(&mut client, asked_for, options.max_frame).await?;
        let new = Opening::New { timeout };
        let (session, mut rest) = handshake(&mut reader, &mut writer, new, options.max_frame).await?;
        if let Some(user) = &options.sasl {
            let nonce = uuid::Uuid::new_v4().simple().to_string();
            sasl::prove(&mut reader, &mut writer, &mut rest, user, &nonce, options.max_frame).await?;
        }
        for Auth { scheme, secret } in &options.auth {
            let packet = AuthPacket { kind: 0, scheme: scheme.clone(), auth: Some(secret.clone()) };
            let auth = |out: &mut Vec<u8>| Request::Auth(packet).encode(AUTH_XID, out);
            let frame = exchange(&mut reader, &mut writer, &mut rest, auth, options.max_frame).await?;
            let header: ReplyHeader = Reader::new(&frame).read().map_err(|error| broken(&error))?;
            if header.err != ErrorCode::Ok {
                return Err(AttachError::AuthFailed { scheme: scheme.clone() });
            }
        }
        let body = ConnectResponseBody {
            protocol_version: 0,
            timeout_ms: i32::try_from(session.timeout.as_millis()).unwrap_or(i32::MAX),
            session_id: session.id,
            password: Some(bytes::Bytes::new()),
        };
        let response = ConnectResponse { body, read_only: read_only.map(|_| false) };
        client.write_all(&framed(|out| response.write(out))).await.map_err(|error| io(&error))?;
        client.write_all(&rest).await.map_err(|error| io(&error))?;
        Ok::<_, AttachError>(())
    };
    tokio::time::timeout(options.handshake, opening).await.map_err(|_| Lost::Silent)??;
    let mut server = reader.unsplit(writer);
    // However it ends, it has ended.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    Ok(())
}

/// The client's first message: does it say something about read-only servers, which older clients do not?
async fn greeted<C: AsyncRead + Unpin>(
    client: &mut C,
    asked_for: Duration,
    max_frame: usize,
) -> Result<Option<bool>, Lost> {
    let mut input = BytesMut::new();
    loop {
        if let Some(frame) = next_frame(&mut input, max_frame)? {
            let request: ConnectRequest = Reader::new(&frame).read().map_err(|error| broken(&error))?;
            let body = request.body;
            let is_asked_for = u128::try_from(body.timeout_ms).is_ok_and(|ms| ms == asked_for.as_millis());
            if !is_asked_for || body.session_id != SessionId::NONE || !input.is_empty() {
                return Err(Lost::Protocol("a client that was not expected".to_owned()));
            }
            return Ok(request.read_only);
        }
        if client.read_buf(&mut input).await.map_err(|error| io(&error))? == 0 {
            return Err(Lost::Closed);
        }
    }
}

fn io(error: &std::io::Error) -> Lost {
    Lost::Io(error.to_string())
}
