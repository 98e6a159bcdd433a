//! What Prometheus is told. Each area has a struct of its families beside its code, with `register`; here are
//! the families themselves, and what the server's own numbers look like.
//!
//! - Names and units follow Prometheus' conventions; the server's are Apache's.
//! - A label's values are the members of an enum, so that nothing that somebody wrote becomes one.
//! - What can be counted when it is asked for is: sizes are set at the scrape.

mod families;
mod server;

pub use families::{CounterBy, GaugeBy, Label, counter, gauge, histogram, process, register};
pub use server::ServerSubject;
