//! A mix of requests over many connections: as many as the server takes (closed loop), or at a fixed rate
//! (open loop).
//!
//! In a closed loop each answer is followed by the next request, and a latency begins when the request is
//! handed to the socket. In an open loop every request has a moment at which it is due, and its latency begins
//! there, also when an earlier one holds it up: a server that stalls is charged for all that had to wait.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fastrand::Rng;
use mio::{Events, Poll};
use zk_wire::codes::ErrorCode;
use zk_wire::jute::Reader;
use zk_wire::reply::ReplyHeader;
use zk_wire::request::Request;

use super::figures::{Figures, Times};
use super::mix::{KINDS, Kind, Layout, Mix};
use super::process::Used;
use super::tenths::Tenths;
use super::wire::{Arrived, Wire};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: super::Target,
    /// Connections, each with a session of its own.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    connections: u16,
    /// Requests under way on each connection; in an open loop the most that there may be.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    in_flight: u16,
    /// Kinds of request with their weights: get, set, exists, list, create, ephemeral, delete.
    /// A delete takes what the connection created first; where there is nothing left it creates.
    #[arg(long, default_value = "get=80,set=20")]
    mix: Mix,
    /// Bytes of each znode's data.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    value_bytes: u32,
    /// Znodes that get, set and exists choose from, in folders of a hundred.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    keys: u32,
    /// Reads leave watches; the events are counted.
    #[arg(long)]
    watch: bool,
    /// Requests per second, over all connections: an open loop.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    rate: Option<u32>,
    /// How long to measure.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How long to load the server before that.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Ends after so many requests instead of by the clock, and warms nothing up.
    #[arg(long, conflicts_with = "rate")]
    requests: Option<u64>,
    /// The znode below which everything is created, and deleted at the end.
    #[arg(long, default_value = "/zoobridge-bench")]
    root: String,
    /// Leave the znodes at the end.
    #[arg(long)]
    keep: bool,
    /// What the drawing of keys and kinds starts from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A request on its way.
struct Sent {
    xid: i32,
    kind: Kind,
    /// When its latency begins.
    since: Instant,
}

/// One connection and what it waits for.
struct Lane {
    wire: Wire,
    in_flight: VecDeque<Sent>,
    /// Due, but too much is under way already.
    due: VecDeque<Instant>,
    /// Numbers of the znodes that it has created and not deleted.
    created: Range<u32>,
    established: bool,
}

struct Load<'a> {
    args: &'a Args,
    layout: Layout,
    rng: Rng,
    poll: Poll,
    lanes: Vec<Lane>,
    measured: Measured,
}

/// What the answers were.
struct Measured {
    /// Latencies that begin earlier do not count.
    from: Option<Instant>,
    all: Times,
    by_kind: Vec<Times>,
    /// From when a request was due to when it was sent: what of a latency the generator is to blame for.
    late: Times,
    tenths: Tenths,
    errors: BTreeMap<ErrorCode, u64>,
    events: u64,
    value_bytes: usize,
}

/// A server that answers nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests under way while the znodes are made and deleted.
const SETUP_IN_FLIGHT: usize = 256;

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let server = args.target.address()?;
    let layout = Layout::new(args.root.clone(), args.keys, args.value_bytes as usize, args.watch);
    let measured = Measured::new(args.value_bytes as usize)?;
    let (poll, lanes) = (Poll::new()?, Vec::new());
    let mut load = Load { args, layout, rng: Rng::with_seed(args.seed), poll, lanes, measured };
    load.connect(server)?;
    let made_first: Vec<_> = load.layout.made_first(load.lanes.len()).collect();
    load.carry_out(made_first, &[ErrorCode::Ok, ErrorCode::NodeExists]).context("creating the znodes")?;
    let figures = load.measure()?;
    if !args.keep {
        let created: Vec<_> = load.lanes.iter().map(|lane| lane.created.clone()).collect();
        let deleted_last: Vec<_> = load.layout.deleted_last(&created).collect();
        load.carry_out(deleted_last, &[ErrorCode::Ok, ErrorCode::NoNode]).context("deleting the znodes")?;
    }
    figures.print(args.target.json)
}

impl Load<'_> {
    fn connect(&mut self, server: SocketAddr) -> anyhow::Result<()> {
        for token in 0..usize::from(self.args.connections) {
            let wire = Wire::open(server, self.poll.registry(), token)?;
            let lane = Lane {
                wire,
                in_flight: VecDeque::new(),
                due: VecDeque::new(),
                created: 0..0,
                established: false,
            };
            self.lanes.push(lane);
        }
        let mut ready = 0;
        self.until(|lane, _| {
            ready += usize::from(std::mem::take(&mut lane.established));
            Ok(ready == usize::from(self.args.connections))
        })
    }

    /// Sends requests over the first connection, and takes only these answers.
    fn carry_out(&mut self, requests: Vec<Request>, allowed: &[ErrorCode]) -> anyhow::Result<()> {
        let (mut requests, mut waiting) = (requests.into_iter(), 0);
        let mut send = |lane: &mut Lane, waiting: &mut usize| {
            for request in requests.by_ref().take(SETUP_IN_FLIGHT - *waiting) {
                let (xid, kind) = (lane.wire.request(&request), Kind::Create);
                lane.in_flight.push_back(Sent { xid, kind, since: Instant::now() });
            }
            *waiting = lane.in_flight.len();
            lane.wire.flush()
        };
        send(&mut self.lanes[0], &mut waiting)?;
        let errors = std::mem::take(&mut self.measured.errors);
        let done = self.until(|lane, measured| {
            if let Some(code) = measured.errors.keys().find(|code| !allowed.contains(code)) {
                bail!("the server answered {code}");
            }
            waiting = lane.in_flight.len();
            send(lane, &mut waiting)?;
            Ok(waiting == 0)
        });
        self.measured.errors = errors;
        done
    }

    /// Handles what comes until `done` of a connection to which something came says so.
    fn until(
        &mut self,
        mut done: impl FnMut(&mut Lane, &Measured) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            self.poll.poll(&mut events, Some(PATIENCE))?;
            ensure!(!events.is_empty(), "the server has not answered for {PATIENCE:?}");
            for event in &events {
                let lane = &mut self.lanes[event.token().0];
                lane.wire.flush()?;
                if event.is_readable() {
                    lane.receive(&mut self.measured)?;
                    if done(lane, &self.measured)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn measure(&mut self) -> anyhow::Result<Figures> {
        let started = Instant::now();
        let warm_up = if self.args.requests.is_some() { 0.0 } else { self.args.warm_up };
        let from = started + Duration::from_secs_f64(warm_up);
        let until = from + Duration::from_secs_f64(self.args.seconds);
        self.measured.from = Some(from);
        let mut before = None;
        let mut pace = Pace { started, sent: 0 };
        let mut events = Events::with_capacity(1024);
        let mut answered_at = started;
        if self.args.rate.is_none() {
            self.lanes
                .iter_mut()
                .for_each(|lane| lane.due = vec![started; self.args.in_flight.into()].into());
            pace.sent = self.lanes.len() as u64 * u64::from(self.args.in_flight);
        }
        let mut now = started;
        let mut unsent: Vec<usize> = (0..self.lanes.len()).collect();
        while !self.is_over(now, until, pace.sent) {
            if before.is_none() && now >= from {
                before = Some(self.args.target.used()?);
            }
            self.pace(now, &mut pace, &mut unsent);
            for token in unsent.drain(..) {
                self.send_due(token)?;
            }
            // An open loop spins: a poll that sleeps wakes up to a millisecond late.
            let wait = if self.args.rate.is_some() { Duration::ZERO } else { Duration::from_millis(100) };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                polled => polled?,
            }
            now = Instant::now();
            for event in &events {
                let token = event.token().0;
                let lane = &mut self.lanes[token];
                if event.is_readable() {
                    let answered = lane.receive(&mut self.measured)?;
                    if answered > 0 {
                        answered_at = now;
                    }
                    if self.args.rate.is_none() {
                        lane.due.extend(std::iter::repeat_n(now, answered));
                        pace.sent += answered as u64;
                    }
                }
                unsent.push(token);
            }
            ensure!(now - answered_at < PATIENCE, "the server has not answered for {PATIENCE:?}");
        }
        if self.args.requests.is_some() {
            self.drain()?;
            now = Instant::now();
        }
        let used = self.used_since(before)?;
        let unanswered: usize = self.lanes.iter().map(|lane| lane.in_flight.len() + lane.due.len()).sum();
        let figures = self.figures(now - from, used, unanswered);
        self.drain()?;
        figures
    }

    fn is_over(&self, now: Instant, until: Instant, sent: u64) -> bool {
        match self.args.requests {
            Some(requests) => sent >= requests,
            None => now >= until,
        }
    }

    /// Open loop: what has become due goes to the connections in turn.
    fn pace(&mut self, now: Instant, pace: &mut Pace, unsent: &mut Vec<usize>) {
        let Some(rate) = self.args.rate else { return };
        let interval = 1.0 / f64::from(rate);
        loop {
            let due = pace.started + Duration::from_secs_f64(pace.sent as f64 * interval);
            if due > now {
                return;
            }
            let token = (pace.sent % self.lanes.len() as u64) as usize;
            self.lanes[token].due.push_back(due);
            unsent.push(token);
            pace.sent += 1;
        }
    }

    fn send_due(&mut self, token: usize) -> anyhow::Result<()> {
        let lane = &mut self.lanes[token];
        while lane.in_flight.len() < usize::from(self.args.in_flight)
            && let Some(since) = lane.due.pop_front()
        {
            let (kind, request) = self.layout.draw(&self.args.mix, token, &mut lane.created, &mut self.rng);
            let xid = lane.wire.request(&request);
            if self.args.rate.is_some() && self.measured.from.is_some_and(|from| since >= from) {
                self.measured.late.add(since.elapsed());
            }
            lane.in_flight.push_back(Sent { xid, kind, since });
        }
        lane.wire.flush()
    }

    fn used_since(&self, before: Option<Option<Used>>) -> anyhow::Result<Option<Used>> {
        Ok(match (self.args.target.used()?, before.flatten()) {
            (Some(after), Some(before)) => Some(after.since(before)),
            _ => None,
        })
    }

    /// Waits for what is under way, so that nothing is created behind the end.
    fn drain(&mut self) -> anyhow::Result<()> {
        self.lanes.iter_mut().for_each(|lane| lane.due.clear());
        let mut busy = self.lanes.iter().filter(|lane| !lane.in_flight.is_empty()).count();
        if busy == 0 {
            return Ok(());
        }
        let mut idle: Vec<bool> = self.lanes.iter().map(|lane| lane.in_flight.is_empty()).collect();
        let mut events = Events::with_capacity(1024);
        while busy > 0 {
            self.poll.poll(&mut events, Some(PATIENCE))?;
            ensure!(!events.is_empty(), "the server has not answered for {PATIENCE:?}");
            for event in &events {
                let token = event.token().0;
                let lane = &mut self.lanes[token];
                lane.wire.flush()?;
                lane.receive(&mut self.measured)?;
                if lane.in_flight.is_empty() && !std::mem::replace(&mut idle[token], true) {
                    busy -= 1;
                }
            }
        }
        Ok(())
    }

    fn figures(&self, elapsed: Duration, used: Option<Used>, unanswered: usize) -> anyhow::Result<Figures> {
        let Args { connections, in_flight, rate, mix, .. } = self.args;
        let loop_ = match rate {
            Some(rate) => format!("{rate} per second"),
            None => "closed loop".to_owned(),
        };
        let kinds = KINDS.iter().map(|(_, name)| *name).zip(self.measured.by_kind.iter().cloned());
        let late = rate.map(|_| ("sent late", self.measured.late.clone()));
        let mut further = Vec::new();
        if rate.is_some() {
            // Those have no latency yet: a run that ends with many of them says too little.
            further.push(("unanswered at the end", unanswered as f64, "requests"));
            if let Some([p99, p999]) = self.measured.tenths.medians() {
                further.push(("p99 of the median tenth of a second", p99.as_secs_f64() * 1e6, "us"));
                further.push(("p99.9 of the median tenth of a second", p999.as_secs_f64() * 1e6, "us"));
            }
        }
        Ok(Figures {
            what: format!("{connections} connections x {in_flight} in flight, {mix}, {loop_}"),
            elapsed,
            times: std::iter::once(("all", self.measured.all.clone())).chain(kinds).chain(late).collect(),
            errors: self.measured.errors.clone(),
            events: self.measured.events,
            further,
            used,
        })
    }
}

/// How far an open loop has come.
struct Pace {
    started: Instant,
    sent: u64,
}

impl Lane {
    /// Takes what has come; how many answers that was.
    fn receive(&mut self, measured: &mut Measured) -> anyhow::Result<usize> {
        let (in_flight, established) = (&mut self.in_flight, &mut self.established);
        let mut answered = 0;
        let open = self.wire.receive(|now, arrived| {
            match arrived {
                Arrived::Session => *established = true,
                Arrived::Event => measured.events += 1,
                Arrived::Pong => {}
                Arrived::Reply(header, body) => {
                    let sent = in_flight.pop_front().context("an answer to nothing")?;
                    ensure!(sent.xid == header.xid, "the answer {} where {} was due", header.xid, sent.xid);
                    measured.answer(now, &sent, header, body)?;
                    answered += 1;
                }
            }
            Ok(())
        })?;
        ensure!(open, "the server has closed a connection");
        Ok(answered)
    }
}

impl Measured {
    fn new(value_bytes: usize) -> anyhow::Result<Measured> {
        let by_kind = KINDS.iter().map(|_| Times::new()).collect::<Result<_, _>>()?;
        let errors = BTreeMap::new();
        let (all, late, tenths) = (Times::new()?, Times::new()?, Tenths::new()?);
        Ok(Measured { from: None, all, by_kind, late, tenths, errors, events: 0, value_bytes })
    }

    fn answer(&mut self, now: Instant, sent: &Sent, header: ReplyHeader, body: &[u8]) -> anyhow::Result<()> {
        if header.err != ErrorCode::Ok {
            *self.errors.entry(header.err).or_default() += 1;
        } else if sent.kind == Kind::Get {
            let length: i32 = Reader::new(body).read()?;
            ensure!(usize::try_from(length) == Ok(self.value_bytes), "data of {length} bytes came back");
        }
        if self.from.is_some_and(|from| sent.since >= from) {
            let time = now.saturating_duration_since(sent.since);
            self.all.add(time);
            self.tenths.add(now, time);
            self.by_kind[sent.kind as usize].add(time);
        }
        Ok(())
    }
}
