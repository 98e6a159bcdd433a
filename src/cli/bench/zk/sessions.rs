//! Sessions that come and go: each is opened, creates ephemerals, and is closed; or they stay until all are
//! there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use mio::{Events, Poll};
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::request::{CreateRequest, DeleteRequest, Request};

use super::figures::{Figures, Times};
use super::wire::{Arrived, Wire};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: super::Target,
    /// Sessions in all.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    sessions: u32,
    /// Sessions that come and go at the same time. Of those that stay: how many may be coming.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    at_once: u32,
    /// Ephemerals that each session creates.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    ephemerals: u32,
    /// Sessions stay until all are there: a storm. At most 20,000 of them.
    #[arg(long)]
    stay: bool,
    /// Where the ephemerals are.
    #[arg(long, default_value = "/zoobridge-bench-sessions")]
    root: String,
}

/// One session.
struct Guest {
    wire: Wire,
    number: u32,
    /// When it began to do what it is doing.
    since: Instant,
    unanswered: u32,
    closing: bool,
}

struct Sessions<'a> {
    args: &'a Args,
    server: SocketAddr,
    poll: Poll,
    guests: Vec<Option<Guest>>,
    begun: u32,
    /// How many have done all that they came for.
    done: u32,
    opened: Times,
    created: Times,
    closed: Times,
    errors: BTreeMap<ErrorCode, u64>,
}

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(!args.stay || args.sessions <= 20_000, "at most 20000 sessions can stay (--sessions, --stay)");
    let server = args.target.address()?;
    let acl = Acl::open();
    let root = CreateRequest { path: args.root.clone(), data: None, acl, mode: CreateMode::Persistent };
    ask(server, &Request::Create(root), &[ErrorCode::Ok, ErrorCode::NodeExists])?;
    let mut sessions = Sessions {
        args,
        server,
        poll: Poll::new()?,
        guests: Vec::new(),
        begun: 0,
        done: 0,
        opened: Times::new()?,
        created: Times::new()?,
        closed: Times::new()?,
        errors: BTreeMap::new(),
    };
    let before = args.target.used()?;
    let started = Instant::now();
    sessions.all()?;
    let elapsed = started.elapsed();
    let used = args.target.used()?.zip(before).map(|(after, before)| after.since(before));
    let Sessions { opened, created, closed, errors, guests, .. } = sessions;
    drop(guests);
    if !args.stay {
        let root = DeleteRequest { path: args.root.clone(), version: -1 };
        ask(server, &Request::Delete(root), &[ErrorCode::Ok, ErrorCode::NotEmpty])?;
    }
    let stay = if args.stay { "that stay" } else { "that come and go" };
    let figures = Figures {
        what: format!(
            "{} sessions {stay}, {} at once, {} ephemerals each",
            args.sessions, args.at_once, args.ephemerals
        ),
        elapsed,
        times: vec![("opened", opened), ("created", created), ("closed", closed)],
        errors,
        events: 0,
        further: Vec::new(),
        used,
    };
    figures.print(args.target.json)
}

impl Sessions<'_> {
    fn all(&mut self) -> anyhow::Result<()> {
        let lanes = self.args.sessions.min(self.args.at_once);
        (0..lanes).try_for_each(|_| {
            self.guests.push(None);
            self.begin(self.guests.len() - 1)
        })?;
        let mut events = Events::with_capacity(1024);
        while self.done < self.args.sessions {
            self.poll.poll(&mut events, Some(PATIENCE))?;
            ensure!(!events.is_empty(), "nothing has come for {PATIENCE:?}");
            for event in &events {
                self.step(event.token().0)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, token: usize) -> anyhow::Result<()> {
        let wire = Wire::open(self.server, self.poll.registry(), token)?;
        let (number, since) = (self.begun, Instant::now());
        self.begun += 1;
        self.guests[token] = Some(Guest { wire, number, since, unanswered: 0, closing: false });
        Ok(())
    }

    fn step(&mut self, token: usize) -> anyhow::Result<()> {
        let Some(mut guest) = self.guests[token].take() else { return Ok(()) };
        guest.wire.flush()?;
        let (mut established, mut answers) = (None, Vec::new());
        let open = guest.wire.receive(|now, arrived| {
            match arrived {
                Arrived::Session => established = Some(now),
                Arrived::Reply(header, _) => answers.push((now, header.err)),
                Arrived::Event | Arrived::Pong => {}
            }
            Ok(())
        })?;
        ensure!(open || guest.closing, "the server has closed a connection");
        if let Some(now) = established {
            self.opened.add(now - guest.since);
            guest.since = now;
            self.create(&mut guest)?;
            if guest.unanswered == 0 && self.has_done(&mut guest, now)? {
                return self.next(token, guest);
            }
        }
        for (now, code) in answers {
            if code != ErrorCode::Ok {
                *self.errors.entry(code).or_default() += 1;
            }
            if guest.closing {
                self.closed.add(now - guest.since);
                self.done += 1;
                drop(guest);
                return if self.begun < self.args.sessions { self.begin(token) } else { Ok(()) };
            }
            guest.unanswered -= 1;
            if guest.unanswered == 0 {
                self.created.add(now - guest.since);
                if self.has_done(&mut guest, now)? {
                    return self.next(token, guest);
                }
            }
        }
        self.guests[token] = Some(guest);
        Ok(())
    }

    fn create(&self, guest: &mut Guest) -> anyhow::Result<()> {
        for n in 0..self.args.ephemerals {
            let create = CreateRequest {
                path: format!("{}/{:08}-{n:06}", self.args.root, guest.number),
                data: None,
                acl: Acl::open(),
                mode: CreateMode::Ephemeral,
            };
            guest.wire.request(&Request::Create(create));
        }
        guest.unanswered = self.args.ephemerals;
        guest.wire.flush()
    }

    /// Everything is created: it stays, which is all that it came for, or it goes.
    fn has_done(&mut self, guest: &mut Guest, now: Instant) -> anyhow::Result<bool> {
        if self.args.stay {
            return Ok(true);
        }
        guest.closing = true;
        guest.since = now;
        guest.wire.request(&Request::CloseSession);
        guest.wire.flush()?;
        Ok(false)
    }

    /// One that stays makes room for the next among those that come.
    fn next(&mut self, token: usize, guest: Guest) -> anyhow::Result<()> {
        self.guests[token] = Some(guest);
        self.done += 1;
        if self.begun < self.args.sessions {
            self.guests.push(None);
            return self.begin(self.guests.len() - 1);
        }
        Ok(())
    }
}

/// One request in a session of its own.
fn ask(server: SocketAddr, request: &Request, allowed: &[ErrorCode]) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut wire = Wire::open(server, poll.registry(), 0)?;
    wire.request(request);
    wire.request(&Request::CloseSession);
    let (mut events, mut code) = (Events::with_capacity(1), None);
    let mut answers = 0;
    while answers < 2 {
        poll.poll(&mut events, Some(PATIENCE))?;
        ensure!(!events.is_empty(), "nothing has come for {PATIENCE:?}");
        wire.flush()?;
        let open = wire.receive(|_, arrived| {
            if let Arrived::Reply(header, _) = arrived {
                code.get_or_insert(header.err);
                answers += 1;
            }
            Ok(())
        })?;
        ensure!(open || answers > 0, "the server has closed the connection");
        if !open {
            break;
        }
    }
    let code = code.unwrap_or(ErrorCode::ConnectionLoss);
    ensure!(allowed.contains(&code), "{request:?}: the server answered {code}");
    Ok(())
}
