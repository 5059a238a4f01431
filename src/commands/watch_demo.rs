//! `touchstone watch` without a server: the embedded one, under a load that gives it things to show.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use touchstone_client::provision::{ProvisionSpec, Provisioner};
use touchstone_client::trace::Recorder;
use touchstone_client::{Clock, ConnectOptions};
use touchstone_fixtures::scenario;
use touchstone_loadgen::progress::Snapshot;
use touchstone_loadgen::report::model::Recipients;
use touchstone_loadgen::run::{PORTS, RunPlan, Trace};
use touchstone_loadgen::scenario::{Scale, Scenario, Span};
use touchstone_loadgen::schedule::{Schedule, Shard, Summary};
use touchstone_reference_server::Config;
use url::Url;

use crate::embedded::Embedded;
use crate::error::Failure;

/// The scenario that has a bit of everything.
const SCENARIO: &str = "interactive";

/// How long one run lasts. Another follows, with a new account, until somebody has seen enough.
const ONE_RUN: Span = Span::from_secs(3_600);

/// The embedded server and who talks to it.
pub(crate) struct Demo {
    embedded: Embedded,
    stop: CancellationToken,
}

impl Demo {
    /// Starts the server, which nobody talks to yet.
    pub(crate) async fn start() -> Result<Self, Failure> {
        let config = Config {
            control: true,
            ..Config::default()
        };
        Ok(Self {
            embedded: Embedded::start(config).await?,
            stop: CancellationToken::new(),
        })
    }

    /// Where the server listens.
    pub(crate) fn url(&self) -> &Url {
        self.embedded.url()
    }

    /// Lets the load begin, whose packets go through `recorder`.
    pub(crate) fn load(&self, recorder: Recorder) -> Result<(), Failure> {
        let load = Load::new(self.url(), recorder, self.stop.clone())?;
        tokio::spawn(self.stop.clone().run_until_cancelled_owned(load.repeat()));
        Ok(())
    }

    /// Ends both. Nobody reads the report of the load, so it is not waited for.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.embedded.stop().await
    }
}

/// What is needed for one run after another.
struct Load {
    options: ConnectOptions,
    provisioner: Arc<Provisioner>,
    schedule: Arc<Schedule>,
    summary: Summary,
    recorder: Recorder,
    stop: CancellationToken,
}

impl Load {
    fn new(url: &Url, recorder: Recorder, stop: CancellationToken) -> Result<Self, Failure> {
        let text = scenario(SCENARIO).with_context(|| format!("{SCENARIO} is not built in"))?;
        let scenario = Scenario::parse(SCENARIO, text)
            .and_then(|scenario| scenario.lasting(ONE_RUN))
            .context("a built-in scenario is wrong")?;
        let options = ConnectOptions::new(url.clone());
        let provisioner = Provisioner::open(&ProvisionSpec::Rest, &options)
            .context("cannot make accounts on the embedded server")?;
        let schedule = Schedule::new(scenario, rand::random(), Shard::default());
        Ok(Self {
            options,
            provisioner: Arc::new(provisioner),
            summary: schedule.summary(),
            schedule: Arc::new(schedule),
            recorder,
            stop,
        })
    }

    /// Goes on until a run fails, which is shown among the events.
    async fn repeat(self) {
        let error = loop {
            if let Err(error) = Box::pin(touchstone_loadgen::run::run(self.plan())).await {
                break anyhow::Error::from(error);
            }
        };
        self.recorder
            .mark("-", format!("the load ended: {error:#}"));
    }

    fn plan(&self) -> RunPlan {
        RunPlan {
            name: "the embedded reference server".to_owned(),
            urls: vec![self.options.url.clone()],
            options: self.options.clone(),
            provisioner: Arc::clone(&self.provisioner),
            schedule: Arc::clone(&self.schedule),
            summary: self.summary.clone(),
            scale: Scale::default(),
            recipients: Some(Recipients::Narrow),
            workers: 1,
            start_at: None,
            id: rand::random(),
            ports: PORTS,
            is_embedded: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: Clock::System,
            progress: watch::Sender::new(Snapshot::default()),
            stop: self.stop.clone(),
            trace: Some(Trace {
                recorder: self.recorder.clone(),
                accounts: u32::MAX,
            }),
        }
    }
}
