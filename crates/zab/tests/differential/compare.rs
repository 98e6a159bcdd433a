//! Whether two servers have said the same.

use std::collections::HashMap;

use zk_wire::ids::{SessionId, Zxid};

use crate::shape::Shape;
use crate::side::Seen;

/// What has been found to correspond so far.
#[derive(Default)]
pub(crate) struct Comparison {
    zxids: Bijection<Zxid>,
    sessions: Bijection<SessionId>,
    times: [HashMap<Zxid, i64>; 2],
}

struct Bijection<T> {
    ours_of: HashMap<T, T>,
    theirs_of: HashMap<T, T>,
}

impl<T> Default for Bijection<T> {
    fn default() -> Self {
        Bijection { ours_of: HashMap::new(), theirs_of: HashMap::new() }
    }
}

impl<T: Copy + Eq + std::hash::Hash + std::fmt::Debug> Bijection<T> {
    fn agree(&mut self, theirs: T, ours: T) -> Result<(), String> {
        let known_ours = *self.ours_of.entry(theirs).or_insert(ours);
        let known_theirs = *self.theirs_of.entry(ours).or_insert(theirs);
        if known_ours == ours && known_theirs == theirs {
            return Ok(());
        }
        Err(format!(
            "theirs {theirs:?} was ours {known_ours:?}, and ours {ours:?} was theirs {known_theirs:?}"
        ))
    }
}

impl Comparison {
    /// What differs in a step, if anything does. The ephemerals of a session go in any order.
    pub(crate) fn differ(
        &mut self,
        mut theirs: Seen,
        mut ours: Seen,
        a_session_ends: bool,
    ) -> Option<String> {
        if a_session_ends {
            theirs.iter_mut().chain(&mut ours).for_each(|(_, shapes)| sort_events(shapes));
        }
        let texts = |seen: &Seen| -> Vec<(String, Vec<String>)> {
            seen.iter().map(|(who, s)| (who.clone(), s.iter().map(|s| s.text.clone()).collect())).collect()
        };
        if texts(&theirs) != texts(&ours) {
            return Some(both(&theirs, &ours, "they say different things"));
        }
        let shapes = |seen: &Seen| -> Vec<Shape> { seen.iter().flat_map(|(_, s)| s.clone()).collect() };
        for (their, our) in shapes(&theirs).into_iter().zip(shapes(&ours)) {
            if let Err(why) = self.agree(&their, &our) {
                return Some(both(&theirs, &ours, &format!("{}: {why}", their.text)));
            }
        }
        None
    }

    fn agree(&mut self, theirs: &Shape, ours: &Shape) -> Result<(), String> {
        for (&their, &our) in theirs.zxids.iter().zip(&ours.zxids) {
            // What was there before any transaction, and events that belong to none.
            let fixed = |zxid: Zxid| zxid.0 <= 0;
            if (fixed(their) || fixed(our)) && their != our {
                return Err(format!("zxid {their} and zxid {our}"));
            }
            self.zxids.agree(their, our)?;
        }
        for (&their, &our) in theirs.sessions.iter().zip(&ours.sessions) {
            self.sessions.agree(their, our)?;
        }
        for (times, shape) in self.times.iter_mut().zip([theirs, ours]) {
            for &(zxid, time) in &shape.times {
                let known = *times.entry(zxid).or_insert(time);
                if known != time || (zxid == Zxid::ZERO && time != 0) {
                    return Err(format!("the transaction {zxid} was at {known} and at {time}"));
                }
            }
        }
        Ok(())
    }
}

fn sort_events(shapes: &mut [Shape]) {
    for run in shapes.chunk_by_mut(|a, b| a.is_event && b.is_event) {
        run.sort_by(|a, b| a.text.cmp(&b.text));
    }
}

fn both(theirs: &Seen, ours: &Seen, why: &str) -> String {
    let list = |seen: &Seen| -> String {
        let lines = seen.iter().filter(|(_, shapes)| !shapes.is_empty());
        lines.map(|(who, shapes)| format!("    {who}:\n{}", texts(shapes))).collect()
    };
    format!("{why}\n  theirs\n{}  ours\n{}", list(theirs), list(ours))
}

fn texts(shapes: &[Shape]) -> String {
    let line = |s: &Shape| format!("      {} {:?} {:?}\n", s.text, s.zxids, s.sessions);
    shapes.iter().map(line).collect()
}
