//! The product's program, built with what is measured here, so that nothing is built twice.

use std::process::ExitCode;

fn main() -> ExitCode {
    rua_milter::cli::run().unwrap_or_else(|error| {
        eprintln!("rua-milter: {error:#}");
        ExitCode::FAILURE
    })
}
