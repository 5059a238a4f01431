//! What `touchstone watch` looks at: arguments become a running source, for the screen and for
//! `--headless` alike.

use anyhow::anyhow;
use rand::RngExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use touchstone_client::provision::{ProvisionError, ProvisionSpec, Provisioner, Rest};
use touchstone_client::{Clock, ConnectOptions, Secret};
use touchstone_output::text::display_url;
use touchstone_tui_monitor::filter::Filter;
use touchstone_tui_monitor::source::file::Recorded;
use touchstone_tui_monitor::source::live::{Live, Watched};
use touchstone_tui_monitor::source::wire::{self, Wire};
use touchstone_tui_monitor::source::{Options, Overflow, RecordTo, Source, live, tap};

use crate::args::{AllName, SourceArguments};
use crate::error::Failure;
use crate::exit::Exit;
use crate::target::{Server, unserved};

use super::watch_demo::Demo;

/// A proxy that passes on what comes.
pub(crate) struct RunningProxy {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl RunningProxy {
    /// One that is cut by `stop`, and has ended with `task`.
    pub(crate) fn new(stop: CancellationToken, task: JoinHandle<()>) -> Self {
        Self { stop, task }
    }

    /// Cuts what is connected, and waits until everything that went by is recorded.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A panic has been reported where it happened.
        let _ = self.task.await;
    }
}

/// A running source and its name.
pub(crate) struct Watching {
    pub(crate) source: Source,
    /// The server's URL, or the recording.
    pub(crate) target: String,
    /// What whoever watches should know of it, where that is not listed among the events.
    pub(crate) notes: Vec<String>,
    /// The embedded server and its load, where they were started for it.
    demo: Option<Demo>,
    /// The proxy whose source it is.
    proxy: Option<RunningProxy>,
}

impl Watching {
    fn of(source: Source, target: String) -> Self {
        Self {
            source,
            target,
            notes: Vec::new(),
            demo: None,
            proxy: None,
        }
    }

    /// What a proxy sees.
    pub(crate) fn proxy(source: Source, target: String, running: RunningProxy) -> Self {
        Self {
            proxy: Some(running),
            ..Self::of(source, target)
        }
    }

    /// Starts the embedded server and its load.
    async fn demo(options: &Options) -> Result<Self, Failure> {
        let demo = Demo::start().await?;
        let url = display_url(demo.url());
        let server = ConnectOptions::new(demo.url().clone());
        let rest = Rest::new(&server).map_err(|error| unusable(error, &server))?;
        let wire = Wire {
            target: &url,
            tool: None,
            rest: Some(rest),
            inspect: None,
        };
        let (source, recorder) = wire::start(wire, options);
        demo.load(recorder)?;
        Ok(Self {
            demo: Some(demo),
            ..Self::of(source, format!("demonstration at {url}"))
        })
    }

    /// Lets the source end. What it has seen until now is still received, and so is what a proxy sees to
    /// its end; a demonstration has no end to show.
    pub(crate) async fn end(&mut self) {
        if let Some(running) = self.proxy.take() {
            running.stop().await;
        }
        self.source.end();
    }

    /// Ends the source, and what was started for it. A recording that is not whole is a failure even
    /// if its reader has left meanwhile.
    pub(crate) async fn close(mut self) -> Result<(), Failure> {
        self.end().await;
        let closed = self.source.close().await;
        if let Some(demo) = self.demo {
            demo.stop().await?;
        }
        closed.map_err(|error| Failure::expected(Exit::Incomplete, error))
    }
}

/// How the reader of the source is.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Where to record to, if anywhere.
    pub(crate) record: RecordTo,
    /// Whether to record from the beginning.
    pub(crate) recording: bool,
    /// Whether the reader may make the source wait.
    pub(crate) overflow: Overflow,
    /// Whether what the reader should know stands among the events.
    pub(crate) lists_notes: bool,
    /// How fast a recording is played when the user says nothing; at the reader's speed where none.
    pub(crate) speed: Option<f64>,
}

/// How many inputs wait between the source and its reader.
const QUEUE: usize = 16_384;

/// What the source of a reader is given.
pub(crate) fn options(reading: &Reading) -> Result<Options, Failure> {
    if let RecordTo::File(path) = &reading.record {
        if path.exists() {
            let error = anyhow!("{} exists already", path.display());
            return Err(Failure::usage(error).hint("--record never overwrites; name another file"));
        }
        let folder = path.parent().unwrap_or(path);
        if !folder.as_os_str().is_empty() && !folder.is_dir() {
            let error = anyhow!(
                "cannot record to {}: there is no such folder",
                path.display()
            );
            return Err(Failure::usage(error));
        }
    }
    Ok(Options {
        clock: Clock::System,
        queue: QUEUE,
        overflow: reading.overflow,
        record: reading.record.clone(),
        recording: reading.recording,
        seed: rand::rng().random(),
    })
}

/// Opens the source that the arguments name: a recording, a server, or if neither, the
/// demonstration.
pub(crate) async fn open(
    arguments: &SourceArguments,
    reading: Reading,
) -> Result<Watching, Failure> {
    let options = options(&reading)?;
    if let Some(path) = &arguments.open {
        let recorded = Recorded::open(path).map_err(Failure::usage)?;
        let target = format!("{} ({})", path.display(), recorded.target());
        let speed = arguments.speed.or(reading.speed);
        let source = recorded.start(speed, &options);
        return Ok(Watching::of(source, target));
    }
    let (mut reach, mut provision) = (arguments.reach.clone(), arguments.provision.clone());
    let Some(Server {
        options: server,
        name: target,
        ..
    }) = Server::alone(arguments.url.as_ref(), &mut reach, Some(&mut provision))?
    else {
        return Watching::demo(&options).await;
    };
    if arguments.tap {
        let rest = Rest::new(&server).map_err(|error| unusable(error, &server))?;
        let source = tap::start(rest, &target, &options);
        return Ok(Watching::of(source, target));
    }
    let mut notes = Vec::new();
    let accounts = accounts(arguments, provision, &server, &mut notes).await?;
    let (listed, told) = match reading.lists_notes {
        true => (notes, Vec::new()),
        false => (Vec::new(), notes),
    };
    let live = Live {
        server,
        accounts,
        notes: listed,
    };
    Ok(Watching {
        notes: told,
        ..Watching::of(live::start(live, &options), target)
    })
}

/// The accounts: of the tokens, or of the provisioner.
async fn accounts(
    arguments: &SourceArguments,
    provision: Option<ProvisionSpec>,
    server: &ConnectOptions,
    notes: &mut Vec<String>,
) -> Result<Vec<Watched>, Failure> {
    let unusable = |error| unusable(error, server);
    let mut accounts = Vec::new();
    let tokens = match &provision {
        None if arguments.token.is_empty() => token_of_environment().into_iter().collect(),
        _ => arguments.token.clone(),
    };
    if tokens.is_empty() {
        if provision.is_none() {
            notes.push("a new account is watched: nobody does anything in it".to_owned());
            notes.push("--token names an account that is in use".to_owned());
            notes.push("touchstone account URL prints the token of one".to_owned());
            notes.push("touchstone emit then does something to see".to_owned());
        }
        let how = provision.unwrap_or_default();
        let provisioner = Provisioner::open(&how, server).map_err(Failure::usage)?;
        for _ in 0..arguments.accounts {
            let account = provisioner.account(rand::rng().random()).await;
            accounts.push(Watched::user(account.map_err(unusable)?.token));
        }
        provisioner.close().await;
    } else {
        accounts.extend(
            tokens
                .into_iter()
                .map(|token| Watched::user(Secret::new(token))),
        );
    }
    for account in &mut accounts {
        account.sessions.clone_from(&arguments.session);
        account.machines.clone_from(&arguments.machine);
        if let Some(which) = arguments.all {
            let rest = Rest::new(server).map_err(unusable)?;
            let machines = which == AllName::Everything;
            account.find_all(&rest, machines).await.map_err(unusable)?;
        }
    }
    if accounts.iter().any(|one| !one.sessions.is_empty()) {
        notes.push("watching as a session shows presence to others".to_owned());
    }
    if accounts.iter().any(|one| !one.machines.is_empty()) {
        notes.push("watching as a machine keeps it active for others".to_owned());
        if arguments.all.is_some() {
            notes.push("--all=sessions leaves the machines out".to_owned());
        }
    }
    Ok(accounts)
}

/// The token of `TOUCHSTONE_TOKEN`, which unlike an argument is in no list of processes.
pub(crate) fn token_of_environment() -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the binary is the place that reads the environment"
    )]
    let token = std::env::var("TOUCHSTONE_TOKEN");
    token.ok().filter(|token| !token.is_empty())
}

/// A server that does not do what is needed, or a file or program that does not.
pub(crate) fn unusable(error: ProvisionError, server: &ConnectOptions) -> Failure {
    match error {
        ProvisionError::NoAnswer { .. }
        | ProvisionError::Http { .. }
        | ProvisionError::Unexpected { .. } => unserved(server, error),
        ProvisionError::Unsupported { .. } if server.url.path() != "/" => unserved(server, error),
        ProvisionError::Unsupported { .. } => Failure::expected(Exit::Unreachable, error)
            .hint("accounts of servers without that REST surface come with --token or --provision"),
        _ => Failure::usage(error),
    }
}

/// A filter of the command line.
pub(crate) fn filter(flag: &str, text: &str) -> Result<Filter, Failure> {
    Filter::parse(text).map_err(|error| {
        let failure = Failure::usage(anyhow!("{flag} {text:?}: {error}"));
        failure.hint("write it like 'type == \"new-message\" && size > 4096', or a bare word")
    })
}
