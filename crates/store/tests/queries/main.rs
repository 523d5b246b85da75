//! Queries over SQLite: their results equal those of the evaluator, on the fleet of the corpus and on random twins.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends by panicking")]

mod corpus;
mod fixture;
#[path = "../../../query/tests/properties/generate.rs"]
#[allow(unreachable_pub, dead_code, reason = "the properties of the crate ferrohub-query use the rest")]
mod generate;
mod hostile;
mod limits;
mod random;
mod random_jobs;
