//! An ensemble: where it is, who we are there, and what we write there is open to whom.

use std::time::Duration;

use tokio::net::TcpStream;
use zk_client::{
    AttachError, ConnectError, ConnectString, Connector, Events, Opening, Options, Permit, Session, attach,
    relay,
};

use super::acls::Acls;
use super::identity::{Identity, IdentityError, IdentityFiles, Proofs};

/// An ensemble and how to attach to it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ensemble {
    /// Where it is.
    pub(crate) connect: ConnectString,
    /// How long ephemerals outlive us.
    pub(crate) session_timeout: Duration,
    /// Who we are.
    pub(crate) identity: Identity,
    /// Who may do what with what we write.
    pub(crate) acls: Acls,
}

/// Why one attempt gave no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("{0}")]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Attach(#[from] AttachError),
}

impl Ensemble {
    /// An ensemble that we are to know by the contents of `files`.
    #[must_use]
    pub fn new(connect: ConnectString, session_timeout: Duration, files: IdentityFiles, acls: Acls) -> Self {
        Ensemble { connect, session_timeout, identity: Identity::new(files), acls }
    }

    /// How long one attempt may take in each of its stages: the session must survive two that fail.
    fn attempt(&self) -> Duration {
        (self.session_timeout / 4).min(Duration::from_secs(10))
    }

    /// Sessions start at different servers, and go on to the next one when they lose theirs.
    pub(crate) fn connector(&self, index: usize) -> Connector {
        Connector::new(self.connect.clone(), self.attempt()).starting_at(index)
    }

    pub(crate) fn new_session(&self) -> Opening {
        Opening::New { timeout: self.session_timeout }
    }

    /// One attempt, as whoever we are by now. The permit is asked for when a server has been reached.
    ///
    /// # Errors
    /// See [`AttemptError`]. Only an expired session is worth no other attempt.
    pub(crate) async fn attach(
        &self,
        connector: &mut Connector,
        permit: impl Future<Output = Permit>,
        opening: Opening,
        options: Options,
    ) -> Result<(Session, Events), AttemptError> {
        let proofs = self.identity.proofs().await?;
        connector.secure(proofs.tls);
        let stream = connector.connect().await?;
        let options = Options {
            auth: proofs.auth,
            sasl: proofs.sasl,
            chroot: self.connect.chroot().to_owned(),
            handshake: self.attempt(),
            ..options
        };
        Ok(attach(stream, permit.await, opening, options).await?)
    }

    /// Gives another client a session, without the chroot, and passes on what it and the server say (see
    /// [`zk_client::relay`]). It is whoever we are, or without `proofs` only whom our TLS certificate names.
    ///
    /// # Errors
    /// See [`AttemptError`].
    pub(crate) async fn relay(
        &self,
        connector: &mut Connector,
        client: TcpStream,
        asked_for: Duration,
        proofs: bool,
    ) -> Result<(), AttemptError> {
        let Proofs { auth, sasl, tls } = self.identity.proofs().await?;
        connector.secure(tls);
        let server = connector.connect().await?;
        let (auth, sasl) = if proofs { (auth, sasl) } else { (Vec::new(), None) };
        let options = Options { auth, sasl, handshake: self.attempt(), ..Options::default() };
        Ok(relay(client, server, asked_for, self.session_timeout, &options).await?)
    }
}
