//! rua-milter: arguments -> command -> exit code. See `lib.rs` for the map.

use std::process::ExitCode;

fn main() -> ExitCode {
    match rua_milter::cli::run() {
        Ok(code) => code,
        // A reader that has seen enough, such as `head`, is no failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rua-milter: {error:#}");
            if let Some(step) = rua_milter::cli::next_step(&error) {
                eprintln!("            -> {step}");
            }
            rua_milter::cli::exit_code(&error)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
