//! One module per subcommand. Each turns its arguments into a plan, calls one crate and says how
//! the program ends.

mod account;
mod check;
mod check_reports;
mod compare;
mod emit;
mod explain;
mod explore;
mod judge;
mod load;
mod protocol;
mod proxy;
mod proxy_inspect;
mod proxy_rules;
mod proxy_screen;
mod replay;
mod serve;
mod serve_durable;
mod stop;
mod violation;
mod watch;
mod watch_demo;
mod watch_headless;
mod watch_screen;
mod watch_source;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::args::{Arguments, Color, Command, Output};
use crate::error::Failure;
use crate::exit::Exit;
use crate::screen::is_dumb;
use crate::{logging, output};

/// Runs the command that the arguments name.
pub(crate) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Output { color, quiet, .. } = arguments.output;
    match color {
        // The library trusts any terminal with colours where CI is set.
        Color::Auto if is_dumb() => anstream::ColorChoice::Never,
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    logging::start(arguments.output)?;
    match arguments.command {
        Command::Check(check) => runtime()?.block_on(check::run(*check, quiet)),
        Command::Compare(compare) => compare::run(&compare),
        Command::Explain(explain) => explain::run(&explain),
        Command::Explore(explore) => runtime()?.block_on(explore::run(*explore, quiet)),
        Command::Judge(judge) => judge::run(&judge),
        Command::Protocol(protocol) => protocol::run(&protocol),
        Command::Load(load) => runtime()?.block_on(load::run(*load, quiet)),
        Command::Replay(replay) => {
            let runtime = runtime()?;
            let ended = runtime.block_on(replay::run(*replay, quiet));
            // Nobody waits for what reads or compares a recording when the user has ended the run.
            runtime.shutdown_background();
            ended
        }
        Command::Serve(serve) => runtime()?.block_on(serve::run(*serve, quiet)),
        Command::Watch(watch) => runtime()?.block_on(watch::run(*watch, color)),
        Command::Proxy(proxy) => runtime()?.block_on(proxy::run(*proxy, color)),
        Command::Account(account) => runtime()?.block_on(account::run(account)),
        Command::Emit(emit) => runtime()?.block_on(emit::run(emit)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "touchstone", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
        Command::Man { folder } => {
            std::fs::create_dir_all(&folder)
                .and_then(|()| clap_mangen::generate_to(Arguments::command(), &folder))
                .with_context(|| format!("failed to write manual pages to {}", folder.display()))
                .map_err(Failure::usage)?;
            Ok(Exit::Passed)
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    Ok(runtime.context("cannot start the runtime")?)
}
