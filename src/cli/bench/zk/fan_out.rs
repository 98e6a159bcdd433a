//! One znode watched by many connections: how long until a change of it has reached the last of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use bytes::Bytes;
use mio::{Events, Poll};
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::request::{CreateRequest, DeleteRequest, Request, SetDataRequest, WatchedRead};

use super::figures::{Figures, Times};
use super::wire::{Arrived, Wire};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: super::Target,
    /// Connections that watch.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// How often the znode is set. Before each time every connection leaves its watch anew.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Connections that may be opening at the same time.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    at_once: u32,
    /// The znode.
    #[arg(long, default_value = "/zoobridge-bench-watched")]
    path: String,
}

/// What has come since the last look.
#[derive(Debug, Default)]
struct Seen {
    sessions: usize,
    answers: Vec<ErrorCode>,
    events: Vec<Instant>,
}

struct FanOut {
    poll: Poll,
    wires: Vec<Wire>,
    events: Events,
}

/// A quarter of the session timeout asked for.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut fan_out = FanOut { poll: Poll::new()?, wires: Vec::new(), events: Events::with_capacity(1024) };
    let server = args.target.address()?;
    let watchers = args.connections as usize;
    let (mut opened, mut ready, mut pinged) = (0, 0, Instant::now());
    // The last one writes.
    while ready < watchers + 1 {
        while opened < watchers + 1 && opened - ready < args.at_once as usize {
            fan_out.wires.push(Wire::open(server, fan_out.poll.registry(), opened)?);
            opened += 1;
        }
        ready += fan_out.turn()?.sessions;
        // The first ones wait for the last longer than a session lives where a server is slow.
        if pinged.elapsed() > PING_INTERVAL {
            pinged = Instant::now();
            fan_out.wires.iter_mut().try_for_each(|wire| {
                wire.ping();
                wire.flush()
            })?;
        }
    }
    let acl = Acl::open();
    let create = CreateRequest { path: args.path.clone(), data: None, acl, mode: CreateMode::Persistent };
    let code = fan_out.ask(watchers, &Request::Create(create))?;
    ensure!([ErrorCode::Ok, ErrorCode::NodeExists].contains(&code), "creating the znode: {code}");
    let before = args.target.used()?;
    let started = Instant::now();
    let (mut each, mut last) = (Times::new()?, Times::new()?);
    for round in 0..args.rounds {
        fan_out.watch(args, watchers)?;
        let sent = Instant::now();
        let arrivals = fan_out.set(args, round, watchers)?;
        arrivals.iter().for_each(|at| each.add(*at - sent));
        last.add(arrivals.into_iter().max().unwrap_or(sent) - sent);
    }
    let elapsed = started.elapsed();
    let used = args.target.used()?.zip(before).map(|(after, before)| after.since(before));
    fan_out.ask(watchers, &Request::Delete(DeleteRequest { path: args.path.clone(), version: -1 }))?;
    let figures = Figures {
        what: format!("{watchers} connections watch one znode, set {} times", args.rounds),
        elapsed,
        events: each.count(),
        times: vec![("last event", last), ("each event", each)],
        errors: BTreeMap::new(),
        further: Vec::new(),
        used,
    };
    figures.print(args.target.json)
}

impl FanOut {
    /// Every watcher leaves its watch.
    fn watch(&mut self, args: &Args, watchers: usize) -> anyhow::Result<()> {
        let read = Request::GetData(WatchedRead { path: args.path.clone(), watch: true });
        for wire in &mut self.wires[..watchers] {
            wire.request(&read);
            wire.flush()?;
        }
        let mut answered = 0;
        while answered < watchers {
            for code in self.turn()?.answers {
                ensure!(code == ErrorCode::Ok, "leaving a watch: {code}");
                answered += 1;
            }
        }
        Ok(())
    }

    /// Sets the znode; when each event came.
    fn set(&mut self, args: &Args, round: u32, watchers: usize) -> anyhow::Result<Vec<Instant>> {
        let data = Some(Bytes::from(round.to_string()));
        let set = SetDataRequest { path: args.path.clone(), data, version: -1 };
        self.wires[watchers].request(&Request::SetData(set));
        self.wires[watchers].flush()?;
        let (mut arrivals, mut answered) = (Vec::new(), false);
        while arrivals.len() < watchers || !answered {
            let seen = self.turn()?;
            arrivals.extend(seen.events);
            for code in seen.answers {
                ensure!(code == ErrorCode::Ok, "setting the znode: {code}");
                answered = true;
            }
        }
        ensure!(arrivals.len() == watchers, "{} events for {watchers} watches", arrivals.len());
        Ok(arrivals)
    }

    fn ask(&mut self, wire: usize, request: &Request) -> anyhow::Result<ErrorCode> {
        self.wires[wire].request(request);
        self.wires[wire].flush()?;
        loop {
            if let Some(&code) = self.turn()?.answers.first() {
                return Ok(code);
            }
        }
    }

    /// Waits until something comes, and takes it.
    fn turn(&mut self) -> anyhow::Result<Seen> {
        self.poll.poll(&mut self.events, Some(PATIENCE))?;
        if self.events.is_empty() {
            bail!("nothing has come for {PATIENCE:?}");
        }
        let mut seen = Seen::default();
        for event in &self.events {
            let wire = &mut self.wires[event.token().0];
            wire.flush()?;
            let open = wire.receive(|now, arrived| {
                match arrived {
                    Arrived::Session => seen.sessions += 1,
                    Arrived::Event => seen.events.push(now),
                    Arrived::Pong => {}
                    Arrived::Reply(header, _) => seen.answers.push(header.err),
                }
                Ok(())
            })?;
            ensure!(open, "the server has closed a connection");
        }
        Ok(seen)
    }
}
