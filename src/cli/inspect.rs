//! stub
/// stub
#[derive(Debug, clap::Args)]
pub struct Args {}
/// stub
pub fn run(_: &Args) -> anyhow::Result<std::process::ExitCode> {
    Ok(std::process::ExitCode::SUCCESS)
}
