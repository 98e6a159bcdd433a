//! What storage promises, for each implementation of the trait.

mod archives;
mod crash_points;
mod crashes;
mod damage;
mod fuzzy;
mod place;
mod promises;
mod purging;
mod recorded;
mod snapshots;
mod truncation;
