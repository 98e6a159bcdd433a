//! The live table: redrawn in place on a terminal, plain lines elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use crate::apply::Status;
use crate::eye::Witness;

pub(super) struct Table {
    in_place: bool,
    lines: usize,
}

impl Table {
    pub(super) fn new(in_place: bool) -> Self {
        Table { in_place, lines: 0 }
    }

    /// Shows what is ready, what a consumer sees, and what the witness thinks of it.
    pub(super) fn show(
        &mut self,
        elapsed: Duration,
        witnesses: &[Witness],
        status: Status,
    ) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.in_place && self.lines > 0 {
            // Up to the first line, and clear to the end.
            write!(out, "\x1b[{}A\x1b[J", self.lines)?;
        }
        let Status { services, znodes, refused, .. } = status;
        let seconds = elapsed.as_secs();
        writeln!(out, "{seconds:>4} s  {services} Services, {znodes} znodes, {refused} refused")?;
        writeln!(out, "  {:<48} {:>5} {:>6} {:>7} {:>6}", "directory", "ready", "znodes", "reads", "faults")?;
        for witness in witnesses {
            let (ready, seen) = witness.now();
            let (reads, _, faults) = witness.counts();
            let path = witness.subject().directory.path();
            writeln!(out, "  {path:<48} {:>5} {:>6} {reads:>7} {faults:>6}", ready.len(), seen.len())?;
        }
        self.lines = witnesses.len() + 2;
        out.flush()
    }
}
