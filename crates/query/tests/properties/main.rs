//! Properties of all queries.

mod generate;
mod print_and_parse;
mod results;
