//! What a server makes of the identities that this client proves, for comparing servers.
//!
//! ```sh
//! cargo run -p zk-client --example identity -- localhost:2281 /a ca=ca.pem cert=bob.pem key=bob.key sasl=bob:secret
//! ```
//!
//! Tells who we are, behind a resume too, and what an ACL for `auth` becomes.
#![allow(clippy::print_stdout)] // That is what it is for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use zk_client::{
    Auth, Certificate, Connector, Events, Opening, Options, Permit, SaslUser, Session, Tls, WatchSet, attach,
};
use zk_wire::acl::{Acl, perms};
use zk_wire::codes::CreateMode;
use zk_wire::reply::Response;
use zk_wire::request::{PathRequest, Request};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(server), Some(path)) = (args.next(), args.next()) else {
        bail!(
            "identity SERVER PATH [ca=FILE] [cert=FILE key=FILE] [sasl=USER:PASSWORD] [digest=USER:PASSWORD]"
        );
    };
    let given =
        args.filter_map(|arg| arg.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())));
    let us = Us { server: &server, given: given.collect() };
    if let Err(error) = run(&us, &path).await {
        // Without the port, so that servers can be compared.
        println!("refused: {}", error.to_string().replace(&server, "SERVER"));
    }
    Ok(())
}

async fn run(us: &Us<'_>, path: &str) -> anyhow::Result<()> {
    let (session, _events) = us.attach(Opening::New { timeout: Duration::from_secs(10) }).await?;
    println!("we are {}", identities(&session).await?);
    let auth: Vec<Acl> = vec!["auth::cdrwa".parse()?];
    if let Err(error) = session.create(path, vec![7; 500_000], auth, CreateMode::Ephemeral).await {
        println!("an ACL for nobody: {error}");
        session.close().await?;
        return Ok(());
    }
    let Response::Acl(read) = session.request(Request::GetAcl(PathRequest { path: path.to_owned() })).await?
    else {
        bail!("no ACL");
    };
    // Apache's server keeps who we are in a set without an order.
    let mut acl: Vec<_> = read
        .acl
        .into_iter()
        .map(|Acl { perms, id }| format!("{}:{}:{}", id.scheme, id.id, perms::letters(perms)))
        .collect();
    acl.sort();
    println!("acl {}", acl.join(" "));
    let credentials = session.credentials();
    drop(session);
    let (session, _events) = us.attach(Opening::Resume(credentials, WatchSet::default())).await?;
    println!("resumed, we are {}", identities(&session).await?);
    let data = session.get(path).await?.context("the ephemeral is gone")?.0;
    println!("{} bytes are there", data.len());
    session.close().await?;
    Ok(())
}

struct Us<'a> {
    server: &'a str,
    given: BTreeMap<String, String>,
}

impl Us<'_> {
    async fn attach(&self, opening: Opening) -> anyhow::Result<(Session, Events)> {
        let pem = |key: &str| self.given.get(key).map(std::fs::read).transpose();
        let (chain, key) = (pem("cert")?, pem("key")?);
        let certificate = match (&chain, &key) {
            (Some(chain), Some(key)) => Some(Certificate { chain, key }),
            _ => None,
        };
        let tls = match pem("ca")? {
            Some(ca) => Some(Tls::from_pem(&ca, certificate, None)?),
            None => None,
        };
        let mut connector = Connector::new(self.server.parse()?, Duration::from_secs(10));
        connector.secure(tls);
        let digest = self.given.get("digest").cloned();
        let auth = digest.map(|secret| Auth { scheme: "digest".to_owned(), secret: secret.into() });
        let user = self.given.get("sasl").and_then(|user| user.split_once(':'));
        let sasl =
            user.map(|(name, password)| SaslUser { name: name.to_owned(), password: password.to_owned() });
        let options = Options { auth: auth.into_iter().collect(), sasl, ..Options::default() };
        Ok(attach(connector.connect().await?, Permit::grant(), opening, options).await?)
    }
}

async fn identities(session: &Session) -> anyhow::Result<String> {
    let Response::WhoAmI(infos) = session.request(Request::WhoAmI).await? else {
        bail!("no answer to whoAmI");
    };
    let mut names: Vec<_> =
        infos.into_iter().map(|info| format!("{}:{}", info.auth_scheme, info.user)).collect();
    names.sort();
    Ok(names.join(" "))
}
